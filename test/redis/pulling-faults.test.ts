import type { RedisEvent } from '@proxycache/redis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { requireProgram } from '../system.ts';
import { type PullingLoad, startPullingLoad } from './pulling-load.ts';
import { startWatchedRedis, type WatchedRedis } from './redis-sentinels.ts';
import { type RedisServer, startRedisServer } from './redis-server.ts';
import { failedWaits, waitedAgain } from './traced-metadata.ts';

const program = requireProgram('redis-server');
const waiting = { timeout: 25_000, interval: 20 };
const answerWithinMs = 600;

describe.skipIf(program === undefined)('pulls while Redis', () => {
  let load: PullingLoad;
  const told: RedisEvent['type'][] = [];
  const redisOptions = { answerWithin: answerWithinMs, observer: ({ type }: RedisEvent) => told.push(type) };

  /** Waits for so many more images. */
  async function pulls(count: number): Promise<void> {
    const before = load.pulled();
    await expect.poll(load.pulled, waiting).toBeGreaterThanOrEqual(before + count);
  }

  /** No pull failed; nobody waited for Redis for longer than its deadline, and once for each request at most. */
  function expectNoHarm(): void {
    expect(load.failures).toEqual([]);
    // Timers come late on a machine under load, each of the steps in which a deadline is waited for.
    expect(Math.max(0, ...failedWaits(load.tracing))).toBeLessThan(2 * answerWithinMs);
    expect(waitedAgain(load.tracing, answerWithinMs / 3)).toEqual([]);
    const failed = new Set(load.events.flatMap((event) => (event.type === 'store-failed' ? [event.operation] : [])));
    expect([...failed].filter((operation) => !operation.startsWith('metadata-'))).toEqual([]);
  }

  afterEach(async () => {
    await load?.close();
    told.length = 0;
  });

  describe('one server', () => {
    let server: RedisServer;
    beforeAll(async () => {
      server = await startRedisServer(program!);
    });
    afterAll(() => server?.close());

    const faults: Record<string, { begin: () => Promise<void> | void; end: () => Promise<void> | void }> = {
      'is stopped, and started again': { begin: () => server.stop(), end: () => server.start() },
      'was killed, and is started again': { begin: () => server.kill(), end: () => server.start() },
      'stands still, and goes on': { begin: () => server.freeze(), end: () => server.thaw() },
    };
    test.each(Object.entries(faults))('%s: none fails, and none waits twice', async (_, { begin, end }) => {
      load = await startPullingLoad({ ...redisOptions, url: server.url });
      await pulls(15);
      await begin();
      await expect.poll(() => told, waiting).toContain('redis-lost');
      await pulls(25);
      told.length = 0;
      await end();
      await expect.poll(() => told, waiting).toContain('redis-ready');
      await pulls(15);
      await load.stop();
      expectNoHarm();
      expect(load.events.some(({ type }) => type === 'store-failed')).toBe(true);
    });

    test('restarts in a moment, again and again: none fails', async () => {
      load = await startPullingLoad({ ...redisOptions, url: server.url });
      for (let time = 0; time < 4; time++) {
        await pulls(5);
        await server.kill();
        await server.start();
      }
      await pulls(5);
      await load.stop();
      expectNoHarm();
    });

    test('and the upstream are both gone: what the process holds is served', async () => {
      load = await startPullingLoad({ ...redisOptions, url: server.url });
      await pulls(10);
      await load.stop();
      await Promise.all([server.kill(), load.upstream.stop()]);
      await load.pullAgain();
      expectNoHarm();
      await server.start();
    });
  });

  test('fails over to the replica: none fails, and none waits twice', async () => {
    const redis: WatchedRedis = await startWatchedRedis(program!);
    try {
      load = await startPullingLoad({ ...redisOptions, sentinel: { name: 'main', nodes: redis.nodes } });
      await pulls(15);
      told.length = 0;
      await redis.primary.kill();
      await expect.poll(() => told, waiting).toContain('redis-ready');
      await pulls(15);
      await load.stop();
      expectNoHarm();
    } finally {
      await load.close();
      await redis.close();
    }
  });
});
