import { setImmediate } from 'node:timers/promises';

/** Lets all that waits have its turn of the event loop: for work that would else go on in one. */
export async function turn(): Promise<void> {
  await setImmediate();
}
