import { join } from 'node:path';
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
const secret = 'what all the processes of this test know';

describe.skipIf(program === undefined)('three processes with a spool folder each, as on hosts of their own', () => {
  let redis: RedisServer;
  let upstream: FakeUpstream;
  let folder: string;
  let started = 0;
  const replicas: Replica[] = [];

  beforeAll(async () => {
    redis = await startRedisServer(program!);
    upstream = await startFakeUpstream();
    folder = makeTemporaryFolder('peer-processes');
    await fill();
  });
  afterEach(async () => {
    upstream.heal();
    upstream.clear();
    await fill();
  });
  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.kill()));
    await upstream?.stop();
    await redis?.close();
    removeFolder(folder);
  });

  const fill = () =>
    fillUp(replicas, 3, () => {
      const spoolDirectory = join(folder, `spool-${started++}`);
      return startReplica({
        folder: join(folder, 'shared'),
        upstream: upstream.url,
        redis: redis.url,
        alone: { spoolDirectory, secret },
      });
    });

  /** Has all of them pull a blob that nobody has, and gives the one that leads when some of it has come. */
  async function pullSlowly(seed: string) {
    upstream.on(gets, { slow: { chunkBytes: 128 * 1024, everyMs: 15 } });
    const bytes = seededBytes(seed, 16 * MiB);
    upstream.putBlob('team/app', bytes);
    const path = `/v2/up/team/app/blobs/${digestOf(bytes)}`;
    const pulls = replicas.map((replica) => pullBlob([replica], path, bytes).catch(() => undefined));
    await expect.poll(() => upstream.sentBytes(gets), waiting).toBeGreaterThan(4 * MiB);
    await expect.poll(() => replicas.filter((one) => one.roles().at(-1)?.[0] === 'follower').length, waiting).toBe(2);
    const leader = replicas.findIndex((one) => one.roles().at(-1)?.[0] === 'leader');
    return { pulls, leader };
  }

  const ranges = () =>
    upstream.requests.filter(({ method }) => method === 'GET').map(({ headers }) => headers['range']);

  test('go on from where they are when the host that leads dies: one of them leads, from there', {
    timeout: 60_000,
  }, async () => {
    const { pulls, leader } = await pullSlowly('killed');
    await replicas[leader]!.kill();
    const pulled = await Promise.all(pulls.filter((_, index) => index !== leader));
    expect(pulled.map((one) => [one?.isRight, one?.tries])).toEqual([
      [true, 1],
      [true, 1],
    ]);
    expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d+-$/)]);
  });

  test('go on from where they are when the host that leads stands still', { timeout: 60_000 }, async () => {
    const { pulls, leader } = await pullSlowly('frozen');
    replicas[leader]!.signal('SIGSTOP');
    const others = await Promise.all(pulls.filter((_, index) => index !== leader));
    replicas[leader]!.signal('SIGCONT');
    const pulled = [...others, await pulls[leader]];
    expect(pulled.map((one) => [one?.isRight, one?.tries])).toEqual(Array(3).fill([true, 1]));
    expect(ranges()[1]).toMatch(/^bytes=[1-9]\d+-$/);
  });
});
