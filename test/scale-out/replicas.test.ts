import { digestOf } from '@proxycache/core';
import { type FakeUpstream, seededBytes, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type RedisServer, startRedisServer } from '../redis/redis-server.ts';
import { requireProgram } from '../system.ts';
import { fillUp, pullBlob, type Replica, startReplica } from './replicas.ts';

const program = requireProgram('redis-server');
const waiting = { timeout: 60_000, interval: 10 };
const MiB = 1024 * 1024;
const gets = { method: 'GET', path: /\/blobs\// };
const sizeMiB = Number(process.env['SCALE_OUT_MIB'] ?? 4);
const rounds = Number(process.env['TAKEOVER_ROUNDS'] ?? 3);

describe.skipIf(program === undefined)('four processes with one Redis and one folder', () => {
  let redis: RedisServer;
  let upstream: FakeUpstream;
  let folder: string;
  let blobs = 0;
  let heal: () => void = () => undefined;
  const replicas: Replica[] = [];

  beforeAll(async () => {
    redis = await startRedisServer(program!);
    upstream = await startFakeUpstream();
    folder = makeTemporaryFolder('replicas');
    await fill();
  });
  afterEach(async () => {
    heal();
    heal = () => undefined;
    await fill();
  });
  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.kill()));
    await upstream?.stop();
    await redis?.close();
    removeFolder(folder);
  });

  const fill = () => fillUp(replicas, 4, () => startReplica({ folder, upstream: upstream.url, redis: redis.url }));

  /** A blob that nobody has. */
  function coldBlob(size: number): { bytes: Uint8Array; path: string; got: () => (string | undefined)[] } {
    const bytes = seededBytes(`cold ${blobs++}`, size);
    const digest = digestOf(bytes);
    upstream.putBlob('team/app', bytes);
    const asked = () => upstream.requests.filter((one) => one.method === 'GET' && one.path.includes(digest));
    return {
      bytes,
      path: `/v2/up/team/app/blobs/${digest}`,
      got: () => asked().map(({ headers }) => headers['range'] as string | undefined),
    };
  }

  /** Clients of all processes, each with the others to turn to. */
  function pullAll(count: number, { path, bytes }: { path: string; bytes: Uint8Array }) {
    const from = (index: number) => [...replicas.slice(index % 4), ...replicas.slice(0, index % 4)];
    return Promise.all(Array.from({ length: count }, (_, index) => pullBlob(from(index), path, bytes)));
  }

  const leaderNow = () => replicas.find((replica) => replica.roles().at(-1)?.[0] === 'leader');

  test('ask for a blob once, whatever their clients do', { timeout: 120_000 }, async () => {
    const blob = coldBlob(sizeMiB * MiB);
    const pulled = await pullAll(200, blob);
    expect(pulled.filter(({ isRight, tries }) => isRight && tries === 1)).toHaveLength(200);
    expect(blob.got()).toEqual([undefined]);
    await expect.poll(() => replicas.flatMap((replica) => replica.outcomes()), waiting).toHaveLength(4);
    expect(new Set(replicas.flatMap((replica) => replica.outcomes()))).toEqual(new Set(['stored']));
  });

  test('go on where the one that asks is killed', { timeout: rounds * 60_000 }, async () => {
    const figures: { killedAt: number; takeoverMs: number; longestWaitMs: number; asked: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      heal = upstream.on(gets, { slow: { chunkBytes: 128 * 1024, everyMs: 10 } });
      const blob = coldBlob(16 * MiB);
      const killAt = Math.floor(Math.random() * 15 * MiB);
      const before = upstream.sentBytes(gets);
      const pulls = pullAll(12, blob);
      await expect.poll(() => upstream.sentBytes(gets) - before, waiting).toBeGreaterThan(killAt);
      await expect.poll(leaderNow, waiting).toBeDefined();
      const leader = leaderNow()!;
      const at = performance.now();
      await leader.kill();
      const pulled = await pulls;
      expect(pulled.every(({ isRight }) => isRight)).toBe(true);
      const taken = replicas.flatMap(({ events, isAlive }) =>
        isAlive() ? events.filter((event) => event.type === 'ingest-shared' && event.role === 'leader') : [],
      );
      figures.push({
        killedAt: killAt,
        takeoverMs: Math.round((taken[0]?.at ?? Number.NaN) - at),
        longestWaitMs: Math.round(Math.max(...pulled.map(({ longestWaitMs }) => longestWaitMs))),
        asked: blob.got().length,
      });
      expect(blob.got(), JSON.stringify({ killAt, got: blob.got() })).toHaveLength(2);
      heal();
      await fill();
    }
    console.log('takeovers', JSON.stringify(figures));
  });

  test('go on where the one that asks stands still, which ends its own pulls when it goes on', {
    timeout: 60_000,
  }, async () => {
    heal = upstream.on(gets, { slow: { chunkBytes: 128 * 1024, everyMs: 10 } });
    const blob = coldBlob(16 * MiB);
    const before = upstream.sentBytes(gets);
    const pulls = replicas.map((replica) => pullBlob([replica], blob.path, blob.bytes));
    await expect.poll(() => upstream.sentBytes(gets) - before, waiting).toBeGreaterThan(4 * MiB);
    const leader = leaderNow()!;
    leader.signal('SIGSTOP');
    const stopped = replicas.indexOf(leader);
    const others = await Promise.all(pulls.filter((_, index) => index !== stopped));
    leader.signal('SIGCONT');
    const pulled = [...others, await pulls[stopped]!];
    expect(pulled.map(({ isRight, tries }) => [isRight, tries])).toEqual(Array(4).fill([true, 1]));
    await expect
      .poll(() => replicas.flatMap((replica) => replica.outcomes()), waiting)
      .toEqual(Array(4).fill('stored'));
  });

  test('go on, each by itself, where Redis stands still', { timeout: 60_000 }, async () => {
    heal = upstream.on(gets, { slow: { chunkBytes: 128 * 1024, everyMs: 10 } });
    const blob = coldBlob(16 * MiB);
    const before = upstream.sentBytes(gets);
    const pulls = pullAll(4, blob);
    await expect.poll(() => upstream.sentBytes(gets) - before, waiting).toBeGreaterThan(4 * MiB);
    redis.freeze();
    try {
      const another = coldBlob(MiB);
      const pulled = await Promise.all([pulls, pullAll(4, another)]);
      expect(pulled.flat().map(({ isRight, tries }) => [isRight, tries])).toEqual(Array(8).fill([true, 1]));
    } finally {
      redis.thaw();
    }
  });
});
