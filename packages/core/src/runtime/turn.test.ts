import { expect, test } from 'vitest';
import { turn } from './turn.ts';

test('what waits for the event loop has its turn before work that takes turns goes on', async () => {
  let answered = false;
  setTimeout(() => {
    answered = true;
  }, 0);
  // Promises alone would never let the timer fire.
  for (let i = 0; i < 100_000 && !answered; i++) await turn();
  expect(answered).toBe(true);
});
