import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { createDeferred } from '../runtime/deferred.ts';
import { createChecks } from './checks.ts';

const digests = Array.from({ length: 6 }, (_, i) => digestOf(Buffer.from(String(i))));
const left = new Error('left');

/** Waits until its signal fires, or it is told what was found. */
function work() {
  const found = createDeferred<number>();
  const work = {
    runs: 0,
    ended: 0,
    found,
    run: (signal: AbortSignal) => {
      work.runs++;
      signal.addEventListener('abort', () => found.reject(signal.reason));
      return found.promise.finally(() => work.ended++);
    },
  };
  return work;
}

async function leaving(checks: ReturnType<typeof createChecks>, at: number, { run }: ReturnType<typeof work>) {
  const caller = new AbortController();
  const joined = checks.join(digests[at]!, run, caller.signal);
  await manualClock().advance(0);
  caller.abort(left);
  await expect(joined).rejects.toBe(left);
}

it('a check goes on when all its impatient waiters have left, for the next one', async () => {
  const checks = createChecks();
  const one = work();
  for (let client = 0; client < 5; client++) await leaving(checks, 0, one);
  const last = checks.join(digests[0]!, one.run, new AbortController().signal);
  one.found.resolve(7);
  expect([await last, one.runs]).toEqual([7, 1]);
});

it('no more than four go on for nobody', async () => {
  const checks = createChecks();
  const all = digests.map(work);
  for (const [at, one] of all.entries()) await leaving(checks, at, one);
  await manualClock().advance(0);
  expect(all.map(({ ended }) => ended)).toEqual([0, 0, 0, 0, 1, 1]);
});

it('closing ends those that go on for nobody, and no other begins', async () => {
  const checks = createChecks();
  const one = work();
  await leaving(checks, 0, one);
  await checks.close();
  expect(one.ended).toBe(1);
  await expect(checks.join(digests[1]!, one.run, new AbortController().signal)).rejects.toMatchObject({
    code: 'closed',
  });
});
