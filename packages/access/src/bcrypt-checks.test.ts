import { manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { createBcryptChecks } from './bcrypt-checks.ts';
import type { BcryptJob } from './bcrypt-runner.ts';

const hash = { text: '$2b$10$', rounds: 1024 };
const { signal } = new AbortController();

/** Runners that wait until a test ends what they do, and checks over them. */
function setUp({ runners, waitMs = 3_000 }: { runners: number; waitMs?: number }) {
  const clock = manualClock();
  const running: (BcryptJob & { end(matches: boolean): void; fail(error: Error): void })[] = [];
  const runner = (job: BcryptJob) =>
    new Promise<boolean>((resolve, reject) => {
      running.push({ ...job, end: resolve, fail: reject });
    });
  const check = createBcryptChecks({ runners: Array.from({ length: runners }, () => runner), waitMs, clock });
  return { clock, running, check };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const passwords = (running: readonly BcryptJob[]) => running.map(({ password }) => password);

describe('checks of hashes', () => {
  test('run as many at once as there are threads, the others in order of arrival', async () => {
    const { check, running } = setUp({ runners: 2 });
    const results = ['a', 'b', 'c', 'd'].map((password) => check(password, hash, signal));
    expect(passwords(running)).toEqual(['a', 'b']);
    running[1]?.end(true);
    expect(await results[1]).toBe(true);
    expect(passwords(running)).toEqual(['a', 'b', 'c']);
    running[0]?.end(false);
    running[2]?.end(true);
    await turn();
    running[3]?.end(false);
    expect(await Promise.all(results)).toEqual([false, true, true, false]);
  });

  test('that would have to wait too long are refused at once, and taken again when the queue is shorter', async () => {
    // 1,024 rounds are taken for 72 ms at first: of 150 ms, two go beyond the one that runs.
    const { check, running } = setUp({ runners: 1, waitMs: 150 });
    const waiting = ['a', 'b', 'c'].map((password) => check(password, hash, signal));
    await expect(check('d', hash, signal)).rejects.toMatchObject({ code: 'too-many-requests' });
    running[0]?.end(true);
    await waiting[0];
    const late = check('e', hash, signal);
    for (const at of [1, 2, 3]) {
      running[at]?.end(true);
      await turn();
    }
    expect(await late).toBe(true);
    expect(await Promise.all(waiting)).toEqual([true, true, true]);
  });

  test('learn how long a check takes on this machine', async () => {
    const { check, running, clock } = setUp({ runners: 1, waitMs: 3_000 });
    for (let at = 0; at < 20; at++) {
      const result = check('a', hash, signal);
      await clock.advance(2_000);
      running[at]?.end(true);
      await result;
    }
    // At two seconds each, one may wait behind the one that runs, and no more.
    const first = check('a', hash, signal);
    const second = check('b', hash, signal);
    await expect(check('c', hash, signal)).rejects.toMatchObject({ code: 'too-many-requests' });
    running[20]?.end(true);
    await first;
    running[21]?.end(true);
    await second;
  });

  test('that nobody waits for any more leave the queue; one that runs goes on to its end', async () => {
    const { check, running } = setUp({ runners: 1 });
    const leaving = new AbortController();
    const first = check('a', hash, leaving.signal);
    const second = check('b', hash, leaving.signal);
    const third = check('c', hash, signal);
    leaving.abort(new Error('left'));
    await expect(second).rejects.toThrow('left');
    running[0]?.end(true);
    expect(await first).toBe(true);
    expect(passwords(running)).toEqual(['a', 'c']);
    running[1]?.end(true);
    expect(await third).toBe(true);
    await expect(check('d', hash, leaving.signal)).rejects.toThrow('left');
  });

  test('that fail make room for the next', async () => {
    const { check, running } = setUp({ runners: 1 });
    const first = check('a', hash, signal);
    const second = check('b', hash, signal);
    running[0]?.fail(new Error('damaged'));
    await expect(first).rejects.toThrow('damaged');
    running[1]?.end(true);
    expect(await second).toBe(true);
  });

  test('that left give their place in the queue to others', async () => {
    const { check, running } = setUp({ runners: 1, waitMs: 150 });
    const leaving = new AbortController();
    const first = check('a', hash, signal);
    const left = [check('b', hash, leaving.signal), check('c', hash, leaving.signal)].map((one) =>
      expect(one).rejects.toThrow('left'),
    );
    leaving.abort(new Error('left'));
    await Promise.all(left);
    const next = check('d', hash, signal);
    running[0]?.end(true);
    expect(await first).toBe(true);
    running[1]?.end(true);
    expect(await next).toBe(true);
  });
});
