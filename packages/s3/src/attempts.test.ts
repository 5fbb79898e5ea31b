import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { attempts } from './attempts.ts';

const { signal } = new AbortController();
const refused = (status: number, name = 'X') =>
  Object.assign(new Error(name), { name, $metadata: { httpStatusCode: status } });

/** Work that fails with these in turn, and then succeeds. */
function failing(errors: Error[]) {
  const clock = manualClock();
  const pauses: number[] = [];
  const failed = ({ inMs }: { inMs: number }) => {
    pauses.push(inMs);
    // Once the pause has begun.
    setImmediate(() => clock.advance(inMs));
  };
  const left = [...errors];
  const outcome = attempts({ clock, signal, failed }, async () => {
    const error = left.shift();
    if (error) throw error;
    return 'done';
  });
  return { outcome, pauses };
}

test('what may pass is tried again, after longer and longer pauses', async () => {
  const { outcome, pauses } = failing([refused(503, 'SlowDown'), refused(409), new Error('ECONNRESET'), refused(429)]);
  expect(await outcome).toBe('done');
  expect(pauses).toHaveLength(4);
  for (const [at, pause] of pauses.entries()) {
    expect(pause).toBeGreaterThanOrEqual(100 * 2 ** at);
    expect(pause).toBeLessThanOrEqual(200 * 2 ** at);
  }
});

test('the fifth failure is the last', async () => {
  const { outcome, pauses } = failing(Array.from({ length: 5 }, (_, at) => refused(503, `X${at}`)));
  await expect(outcome).rejects.toThrow('X4');
  expect(pauses).toHaveLength(4);
});

test.each([400, 403, 404, 412])('a refusal with %d is not tried again', async (status) => {
  const { outcome, pauses } = failing([refused(status)]);
  await expect(outcome).rejects.toThrow('X');
  expect(pauses).toEqual([]);
});

test('who leaves during a pause leaves at once', async () => {
  const controller = new AbortController();
  const left = new Error('left');
  const options = {
    clock: manualClock(),
    signal: controller.signal,
    failed: () => setImmediate(() => controller.abort(left)),
  };
  await expect(attempts(options, () => Promise.reject(refused(503)))).rejects.toBe(left);
});
