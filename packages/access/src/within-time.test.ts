import { getEventListeners } from 'node:events';
import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { withinTime } from './within-time.ts';

const ms = 1_000;

it.each([
  ['done', () => 'told', 'told'],
  ['failed', () => Promise.reject(new Error('who is that')), 'Error: who is that'],
  [
    'failed at once',
    () => {
      throw new Error('who is that');
    },
    'Error: who is that',
  ],
])('listens to nothing any more when the work is %s: what it knows of a password is let go', async (_, work, came) => {
  const clock = manualClock();
  const { signal } = new AbortController();
  let given: AbortSignal | undefined;
  const told = withinTime(
    (until) => {
      given = until;
      return work();
    },
    { signal, ms, clock },
  ).catch(String);
  expect(await told).toBe(came);
  expect(given && getEventListeners(given, 'abort')).toEqual([]);
  expect(clock.pending()).toBe(0);
});

it('waits no longer than it may, nor for longer than somebody waits for it', async () => {
  const clock = manualClock();
  const { signal } = new AbortController();
  const never = () => new Promise<never>(() => undefined);
  const late = withinTime(never, { signal, ms, clock });
  const refused = expect(late).rejects.toThrow('it could not be told within 1000 ms who asks');
  await clock.advance(ms);
  await refused;
  const left = new AbortController();
  const alone = withinTime(never, { signal: left.signal, ms, clock });
  const gone = expect(alone).rejects.toThrow('left');
  left.abort(new Error('left'));
  await gone;
});
