import { turn } from '../runtime/turn.ts';

/** So many records and files go at once: each waits for the store most of the time, and pulls wait for it too. */
const atOnce = 8;

/**
 * Calls `fn` for each item, a few at a time, until it says `false` once or throws; it has ended for all that were begun when
 * the promise settles. Whatever else waits has its turn after each.
 *
 * @returns whether it said `true` of all
 * @throws what `fn` first threw
 */
export async function fewAtOnce<T>(items: readonly T[], fn: (item: T) => Promise<boolean>): Promise<boolean> {
  let goesOn = true;
  let failure: { error: unknown } | undefined;
  const queue = items.values();

  async function work(): Promise<void> {
    for (const item of queue) {
      try {
        if (!(await fn(item))) goesOn = false;
      } catch (error) {
        failure ??= { error };
      }
      await turn();
      if (!goesOn || failure) return;
    }
  }

  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
  if (failure) throw failure.error;
  return goesOn;
}
