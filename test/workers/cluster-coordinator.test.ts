import { casesOf, coordinatorContract } from '@proxycache/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startCluster, type TestCluster, type TestWorker } from './cluster-of-workers.ts';

const { signal } = new AbortController();
const waiting = { timeout: 15_000, interval: 20 };

describe('a coordinator of the workers of node:cluster', () => {
  let cluster: TestCluster;
  let one: TestWorker;
  let other: TestWorker;
  let names = 0;

  beforeAll(async () => {
    cluster = startCluster();
    one = await cluster.fork();
    other = await cluster.fork();
  });
  afterAll(() => cluster?.close());

  const make = async () => {
    const name = `contract-${names++}`;
    const both = [one.coordinator(name), other.coordinator(name)] as const;
    return { one: both[0], other: both[1], close: async () => void (await Promise.all(both.map((c) => c.close()))) };
  };
  for (const { name, run } of casesOf(coordinatorContract)) test(name, () => run(make));

  test('keeps those of different names apart', async () => {
    const lease = await one.coordinator('a').acquire('key', { for: 60_000, signal });
    const apart = await other.coordinator('b').acquire('key', { for: 60_000, signal });
    expect([lease, apart]).not.toContain(undefined);
    await lease?.release();
    await apart?.release();
  });

  test('ends the leases of a worker that is killed at once, and gives the next higher tokens, also one forked later', async () => {
    const doomed = await cluster.fork();
    const lease = await doomed.coordinator('kill').acquire('key', { for: 3_600_000, value: 'doomed', signal });
    const next = other.coordinator('kill');
    expect(await next.acquire('key', { for: 3_600_000, signal })).toBeUndefined();
    process.kill(doomed.pid, 'SIGKILL');
    await expect.poll(() => next.holder('key'), waiting).toBeUndefined();
    const taken = await next.acquire('key', { for: 3_600_000, signal });
    expect(taken?.token).toBeGreaterThan(lease?.token ?? Number.POSITIVE_INFINITY);
    await taken?.release();
    const reborn = await cluster.fork();
    const last = await reborn.coordinator('kill').acquire('key', { for: 3_600_000, signal });
    expect(last?.token).toBeGreaterThan(taken?.token ?? Number.POSITIVE_INFINITY);
    process.kill(reborn.pid, 'SIGKILL');
  });

  test('gives the lease of a worker that stands still to another, and tells it when it goes on', async () => {
    const still = await cluster.fork();
    const lease = await still.coordinator('still').acquire('key', { for: 1_000, signal });
    process.kill(still.pid, 'SIGSTOP');
    const next = other.coordinator('still');
    expect(lease?.lost.aborted).toBe(false);
    let taken: Awaited<ReturnType<typeof next.acquire>>;
    await expect
      .poll(async () => {
        taken = await next.acquire('key', { for: 60_000, value: 'next', signal });
        return taken?.token;
      }, waiting)
      .toBeGreaterThan(lease?.token ?? Number.POSITIVE_INFINITY);
    process.kill(still.pid, 'SIGCONT');
    await expect.poll(() => lease?.lost.aborted, waiting).toBe(true);
    await lease?.release();
    expect(await next.holder('key')).toBe('next');
    await taken?.release();
    process.kill(still.pid, 'SIGKILL');
  });
});
