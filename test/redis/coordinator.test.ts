import { fileURLToPath } from 'node:url';
import { casesOf, coordinatorContract } from '@proxycache/contract';
import type { Lease } from '@proxycache/core';
import { type RedisCoordinator, redisCoordinator, redisMetadata } from '@proxycache/redis';
import { manualClock } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startDaemon } from '../peers/daemon.ts';
import { requireProgram } from '../system.ts';
import { type RedisServer, startRedisServer, tellRedis } from './redis-server.ts';

const program = requireProgram('redis-server');
const holder = fileURLToPath(new URL('./lease-holder.mjs', import.meta.url));
const { signal } = new AbortController();
const waiting = { timeout: 15_000, interval: 20 };

describe.skipIf(program === undefined)('a coordinator in Redis', () => {
  let server: RedisServer;
  let prefixes = 0;
  const open: RedisCoordinator[] = [];

  beforeAll(async () => {
    server = await startRedisServer(program!);
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((coordinator) => coordinator.close()));
  });
  afterAll(() => server?.close());

  function coordinatorIn(prefix = 'proxycache'): RedisCoordinator {
    const coordinator = redisCoordinator({ url: server.url, prefix, answerWithin: '10s' });
    open.push(coordinator);
    return coordinator;
  }

  const make = async () => {
    const prefix = `contract-${prefixes++}`;
    const [one, other] = [coordinatorIn(prefix), coordinatorIn(prefix)];
    return { one, other, close: async () => void (await Promise.all([one.close(), other.close()])) };
  };
  for (const { name, run } of casesOf(coordinatorContract)) test(name, () => run(make));

  test('publishes and listens again when a subscription ended while Redis was away', async () => {
    const [one, other] = [coordinatorIn('resub'), coordinatorIn('resub')];
    const end = one.subscribe('a', () => undefined);
    await one.publish('a', 'x');
    await server.stop();
    await expect(one.publish('a', 'x')).rejects.toMatchObject({ code: 'storage-failed' });
    end();
    await server.start();
    await expect
      .poll(
        () =>
          one.publish('a', 'y').then(
            () => 'back',
            () => 'away',
          ),
        waiting,
      )
      .toBe('back');
    const seen: string[] = [];
    one.subscribe('b', (message) => seen.push(message));
    await expect
      .poll(async () => {
        await other.publish('b', 'z').catch(() => undefined);
        return seen;
      }, waiting)
      .toContain('z');
  });

  test('makes no connection for a subscription after it was closed', async () => {
    const coordinator = coordinatorIn('closed');
    await coordinator.close();
    expect(() => coordinator.subscribe('a', () => undefined)).toThrow(expect.objectContaining({ code: 'closed' }));
  });

  test('replaces a holder that was killed, with a higher token', async () => {
    const child = startDaemon(process.execPath, [holder, server.url, 'job', '3000']);
    const [, token] = await child.says(/token (\d+)/);
    const coordinator = coordinatorIn();
    expect(await coordinator.holder('job')).toBe('child');
    expect(await coordinator.acquire('job', { for: 2_000, signal })).toBeUndefined();
    await child.kill();
    let lease = await coordinator.acquire('job', { for: 2_000, signal });
    const take = async () => {
      lease ??= await coordinator.acquire('job', { for: 2_000, signal });
      return lease?.token ?? 0;
    };
    await expect.poll(take, waiting).toBeGreaterThan(Number(token));
  });

  test('says that a lease is lost when Redis is away for longer than it is for', async () => {
    const coordinator = coordinatorIn('outage');
    const lease = await coordinator.acquire('job', { for: 1_500, signal });
    expect(lease).toBeDefined();
    server.freeze();
    await expect.poll(() => lease?.lost.aborted, waiting).toBe(true);
    expect(lease?.lost.reason).toMatchObject({ code: 'storage-failed', message: expect.stringContaining('lost') });
    server.thaw();
    const heir = coordinatorIn('outage');
    const again = () => heir.acquire('job', { for: 3_000, signal }).catch(() => undefined);
    let next: Awaited<ReturnType<typeof again>>;
    const take = async () => {
      next ??= await again();
      return next?.token ?? 0;
    };
    await expect.poll(take, waiting).toBeGreaterThan(lease!.token);
    // The first one ended: what it does now is not its own any more.
    await lease!.release();
    expect(next!.lost.aborted).toBe(false);
  });

  test('says that a lease is lost when another has it, and goes on with one that was only forgotten', async () => {
    const coordinator = coordinatorIn('taken');
    const lease = await coordinator.acquire('job', { for: 3_000, value: 'me', signal });
    const key = 'taken::{!lease/job}holder';
    await tellRedis(server.port, 'DEL', key);
    await expect.poll(() => coordinator.holder('job'), waiting).toBe('me');
    expect(lease?.lost.aborted).toBe(false);
    await tellRedis(server.port, 'SET', key, '1\nother');
    await expect.poll(() => lease?.lost.aborted, waiting).toBe(true);
    expect(await coordinator.holder('job')).toBe('other');
  });

  test('gives tokens that fence the writes of who lost a lease', async () => {
    const [one, other] = [coordinatorIn('fenced'), coordinatorIn('fenced')];
    const metadata = redisMetadata({ url: server.url, prefix: 'fenced' });
    const first = await one.acquire('job', { for: 1_000, signal });
    await first!.release();
    const second = await other.acquire('job', { for: 1_000, signal });
    expect(await metadata.set('tag/a', 'second', { fence: second!.token, signal })).toBe(true);
    expect(await metadata.set('tag/a', 'first', { fence: first!.token, signal })).toBe(false);
    expect(await metadata.get('tag/a', { signal })).toMatchObject({ value: 'second' });
    await metadata.close();
  });

  test('brings messages again when Redis was restarted', async () => {
    const [one, other] = [coordinatorIn('restart'), coordinatorIn('restart')];
    const seen: string[] = [];
    one.subscribe('channel', (message) => seen.push(message));
    const send = (message: string) => async () => {
      await other.publish('channel', message).catch(() => undefined);
      return seen;
    };
    await expect.poll(send('before'), waiting).toContain('before');
    await server.stop();
    await expect(other.publish('channel', 'lost')).rejects.toMatchObject({ code: 'storage-failed' });
    await server.start();
    await expect.poll(send('after'), waiting).toContain('after');
  });

  test('gives its leases back when it is closed, and tells their holders', async () => {
    const [one, other] = [coordinatorIn('closing'), coordinatorIn('closing')];
    const lease = await one.acquire('job', { for: 60_000, signal });
    await one.close();
    expect(lease?.lost.aborted).toBe(true);
    await expect(one.acquire('job', { for: 60_000, signal })).rejects.toMatchObject({ code: 'closed' });
    expect(await (await other.acquire('job', { for: 60_000, signal }))?.release()).toBeUndefined();
    expect(await other.holder('job')).toBeUndefined();
  });

  test('tells its observer when it may not listen', async () => {
    await tellRedis(server.port, 'ACL', 'SETUSER', 'deaf', 'on', '>x', '~*', '&*', '+@all', '-subscribe');
    const lost: string[] = [];
    const coordinator = redisCoordinator({
      url: server.url.replace('://', '://deaf:x@'),
      observer: (event) => event.type === 'redis-lost' && lost.push(event.error.message),
    });
    open.push(coordinator);
    coordinator.subscribe('channel', () => undefined);
    await expect
      .poll(() => lost, waiting)
      .toEqual([expect.stringMatching(/messages\) is away: NOPERM.*documentation/)]);
    await coordinator.publish('channel', 'x');
  });

  test('fails within its deadline while Redis stands still', async () => {
    const coordinator = redisCoordinator({ url: server.url, prefix: 'frozen', answerWithin: 500 });
    open.push(coordinator);
    expect(await coordinator.holder('job')).toBeUndefined();
    server.freeze();
    const failed = { code: 'storage-failed' };
    await expect(coordinator.acquire('job', { for: 1_000, signal })).rejects.toMatchObject(failed);
    await expect(coordinator.holder('job')).rejects.toMatchObject(failed);
    await expect(coordinator.publish('channel', 'x')).rejects.toMatchObject(failed);
    server.thaw();
    await expect.poll(() => coordinator.holder('job').catch(() => 'away'), waiting).toBeUndefined();
  });

  /** Takes a lease as soon as it can be had. */
  async function taken(coordinator: RedisCoordinator, key: string, value = ''): Promise<Lease> {
    let lease: Lease | undefined;
    const take = async () => {
      lease ??= await coordinator.acquire(key, { for: 600_000, value, signal }).catch(() => undefined);
      return lease !== undefined;
    };
    await expect.poll(take, waiting).toBe(true);
    return lease!;
  }

  function hastyIn(prefix: string): RedisCoordinator {
    const coordinator = redisCoordinator({ url: server.url, prefix, answerWithin: '1s' });
    open.push(coordinator);
    return coordinator;
  }

  test('a lease whose answer was lost, and one that could not be given back, barred everybody for their time', async () => {
    const [hasty, other] = [hastyIn('orphan'), coordinatorIn('orphan')];
    const held = await taken(hasty, 'held');
    server.freeze();
    // Redis reads it when it goes on, and gives the lease to somebody who has gone.
    await expect(hasty.acquire('job', { for: 600_000, signal })).rejects.toThrow('did not answer EVALSHA');
    await held.release();
    server.thaw();
    await expect.poll(() => tellRedis(server.port, 'EXISTS', 'orphan::{!lease/job}token'), waiting).toBe(1);
    for (const key of ['job', 'held']) await taken(other, key);
  });

  test('whoever lost the answer to a lease takes it over, and nobody else', async () => {
    const [hasty, other] = [hastyIn('heir'), coordinatorIn('heir')];
    await (await taken(hasty, 'job')).release();
    server.freeze();
    await expect(hasty.acquire('job', { for: 600_000, signal })).rejects.toThrow('did not answer EVALSHA');
    server.thaw();
    const lease = await taken(hasty, 'job', 'second');
    expect(await other.holder('job')).toBe('second');
    // What it holds now is not taken for what it had lost, not by itself either.
    expect(await hasty.acquire('job', { for: 600_000, signal })).toBeUndefined();
    expect(await other.acquire('job', { for: 600_000, signal })).toBeUndefined();
    expect(lease.lost.aborted).toBe(false);
  });

  test('messages of one database of Redis were heard in another', async () => {
    const [zero, one] = ['', '/1'].map((database) =>
      redisCoordinator({ url: `${server.url}${database}`, prefix: 'db' }),
    );
    open.push(zero!, one!);
    const heard: string[] = [];
    one!.subscribe('channel', (message) => heard.push(message));
    await one!.publish('channel', 'ready');
    await expect.poll(() => heard, waiting).toEqual(['ready']);
    await zero!.publish('channel', 'of another database');
    await one!.publish('channel', 'own');
    await expect.poll(() => heard, waiting).toContain('own');
    expect(heard).toEqual(['ready', 'own']);
  });

  test('a message waited for the connection that listens and for the one that sends, each for the whole deadline', async () => {
    const clock = manualClock();
    const coordinator = redisCoordinator({ url: server.url, prefix: 'frozen-both', answerWithin: '1s', clock });
    const seen: string[] = [];
    coordinator.subscribe('channel', (message) => seen.push(message));
    await coordinator.publish('channel', 'x');
    await expect.poll(() => seen, waiting).toEqual(['x']);
    server.freeze();
    const publishing = coordinator.publish('channel', 'y').catch((error: Error) => error.message);
    await clock.advance(999);
    const stillWaiting = new Promise((resolve) => setImmediate(resolve, 'still waiting'));
    expect(await Promise.race([publishing, stillWaiting])).toBe('still waiting');
    await clock.advance(1);
    expect(await publishing).toContain('within 1000 ms');
    server.thaw();
    const closing = coordinator.close();
    await clock.advance(1_000);
    await closing;
  });

  describe('of metadata, over the same connection', () => {
    const make = async () => {
      const prefix = `contract-${prefixes++}`;
      const stores = [1, 2].map(() => redisMetadata({ url: server.url, prefix, answerWithin: '10s' }));
      const [one, other] = stores.map((store) => store.coordinator());
      const close = async () => {
        await Promise.all([one!.close(), other!.close()]);
        await Promise.all(stores.map((store) => store.close()));
      };
      return { one: one!, other: other!, close };
    };
    for (const { name, run } of casesOf(coordinatorContract)) test(name, () => run(make));

    test('whoever had waited for a record in vain waited for a lease as well', async () => {
      const clock = manualClock();
      const metadata = redisMetadata({ url: server.url, prefix: 'beside', answerWithin: '1s', clock });
      const coordinator = metadata.coordinator();
      await metadata.set('key', 'x', { signal });
      server.freeze();
      const reading = metadata.get('key', { signal }).catch((error: Error) => error.message);
      await clock.advance(1_000);
      expect(await reading).toContain('did not answer GET within 1000 ms');
      await expect(coordinator.acquire('job', { for: 1_000, signal })).rejects.toThrow('is away');
      server.thaw();
      const closing = coordinator.close();
      await clock.advance(1_000);
      await closing;
      await metadata.close();
    });

    test('leaves the metadata as they are when it is closed, and is closed with them', async () => {
      const metadata = redisMetadata({ url: server.url, prefix: 'stays', answerWithin: '10s' });
      const coordinator = metadata.coordinator();
      const lease = await coordinator.acquire('job', { for: 60_000, signal });
      await coordinator.close();
      expect(lease?.lost.aborted).toBe(true);
      expect(await metadata.set('key', 'x', { signal })).toBe(true);
      const other = metadata.coordinator();
      const next = await other.acquire('job', { for: 60_000, signal });
      await Promise.all([metadata.close(), other.close()]);
      expect(next?.lost.aborted).toBe(true);
      expect(await coordinatorIn('stays').holder('job')).toBeUndefined();
      expect(() => redisMetadata({ client: { sendCommand: async () => undefined } as never }).coordinator()).toThrow(
        /client: a coordinator makes its own connections/,
      );
    });
  });

  test("refuses the host's client, which cannot listen beside its commands", () => {
    const client = { sendCommand: async () => undefined };
    expect(() => redisCoordinator({ client } as never)).toThrow(/client: a coordinator makes its own connections/);
  });
});
