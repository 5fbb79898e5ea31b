import { manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { createPasswordMemory } from './password-memory.ts';

const { signal } = new AbortController();
const alice = { user: 'alice', password: 'wonderland', signal };

function setUp({ prolongs = true, forMs = 60_000 }: { prolongs?: boolean; forMs?: number } = {}) {
  const clock = manualClock();
  const kindOf = (matches: boolean) => (matches ? 'success' : 'failure');
  const memory = createPasswordMemory<boolean>({ forMs, clock, kindOf, prolongs });
  let calls = 0;
  const verify = (matches: boolean) => async () => {
    calls++;
    return matches;
  };
  return { clock, memory, verify, calls: () => calls };
}

describe('what is remembered of passwords', () => {
  test('an answer holds for its time, and is asked for again afterwards', async () => {
    const { clock, memory, verify, calls } = setUp({ prolongs: false });
    expect(await memory.recall(alice, 'v1', verify(true))).toBe(true);
    await clock.advance(59_999);
    expect(await memory.recall(alice, 'v1', verify(false))).toBe(true);
    await clock.advance(1);
    expect(await memory.recall(alice, 'v1', verify(false))).toBe(false);
    expect(calls()).toBe(2);
  });

  test('a success that is used goes on where its stamp decides; a failure does not', async () => {
    const { clock, memory, verify, calls } = setUp();
    const mallory = { ...alice, password: 'guess' };
    await memory.recall(alice, 'v1', verify(true));
    await memory.recall(mallory, 'v1', verify(false));
    for (const _ of [1, 2, 3]) {
      await clock.advance(40_000);
      expect(await memory.recall(alice, 'v1', verify(true))).toBe(true);
      expect(await memory.recall(mallory, 'v1', verify(false))).toBe(false);
    }
    expect(calls()).toBe(3);
  });

  test('another stamp voids an answer at once, be it a yes or a no', async () => {
    const { memory, verify, calls } = setUp();
    expect(await memory.recall(alice, 'v1', verify(true))).toBe(true);
    expect(await memory.recall(alice, 'v2', verify(false))).toBe(false);
    expect(await memory.recall(alice, 'v3', verify(true))).toBe(true);
    expect(calls()).toBe(3);
  });

  test('one pair of user and password is not taken for another', async () => {
    const { memory, verify, calls } = setUp();
    await memory.recall({ user: 'a', password: 'bc', signal }, '', verify(true));
    expect(await memory.recall({ user: 'ab', password: 'c', signal }, '', verify(false))).toBe(false);
    expect(calls()).toBe(2);
  });

  test('no flood of wrong passwords displaces those who were right', async () => {
    const { memory, verify, calls } = setUp();
    await memory.recall(alice, 'v1', verify(true));
    for (let at = 0; at < 20_000; at++) await memory.recall({ ...alice, password: `guess ${at}` }, 'v1', verify(false));
    expect(await memory.recall(alice, 'v1', verify(false))).toBe(true);
    expect(calls()).toBe(20_001);
  });

  test('nothing is kept for no time', async () => {
    const { memory, verify, calls } = setUp({ forMs: 0 });
    await memory.recall(alice, 'v1', verify(true));
    await memory.recall(alice, 'v1', verify(true));
    expect(calls()).toBe(2);
  });

  test('attempts alike at the same time are verified once, and a failure to tell is not kept', async () => {
    const { memory, verify, calls } = setUp();
    let end = (_: Error) => {};
    const failing = () =>
      new Promise<boolean>((_, reject) => {
        end = reject;
      });
    const both = [memory.recall(alice, 'v1', failing), memory.recall(alice, 'v1', verify(true))];
    const settled = Promise.allSettled(both);
    await Promise.resolve();
    end(new Error('directory away'));
    expect(await settled).toMatchObject([{ status: 'rejected' }, { status: 'rejected' }]);
    expect(calls()).toBe(0);
    expect(await memory.recall(alice, 'v1', verify(true))).toBe(true);
  });

  test('an attempt under a new hash does not wait for the one under the old', async () => {
    const { memory, verify } = setUp();
    const never = () => new Promise<boolean>(() => {});
    void memory.recall(alice, 'v1', never);
    expect(await memory.recall(alice, 'v2', verify(false))).toBe(false);
  });

  test('one who leaves ends only the own wait; the work is called off when the last has left', async () => {
    const { memory } = setUp();
    const first = new AbortController();
    const second = new AbortController();
    let seen: AbortSignal | undefined;
    const work = (workSignal: AbortSignal) => {
      seen = workSignal;
      return new Promise<boolean>((_, reject) => {
        workSignal.addEventListener('abort', () => reject(workSignal.reason));
      });
    };
    const waits = [first, second].map((one) => memory.recall({ ...alice, signal: one.signal }, 'v1', work));
    const settled = Promise.allSettled(waits);
    await Promise.resolve();
    first.abort(new Error('left'));
    await expect(waits[0]).rejects.toThrow('left');
    expect(seen?.aborted).toBe(false);
    second.abort(new Error('left too'));
    await settled;
    expect(seen?.aborted).toBe(true);
  });
});
