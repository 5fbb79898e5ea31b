import { turn } from './turn.ts';

const perTurn = 1_024;

/** Calls `fn` for each item, and lets all that waits have its turn now and then. */
export async function inTurns<T>(items: Iterable<T>, fn: (item: T) => void): Promise<void> {
  let done = 0;
  for (const item of items) {
    if (++done % perTurn === 0) await turn();
    fn(item);
  }
}
