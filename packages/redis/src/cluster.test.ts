import { ProxyCacheError } from '@proxycache/core';
import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { createCluster } from './cluster.ts';

type Answer = (args: readonly string[]) => unknown;

const says = (text: string) => new ProxyCacheError('storage-failed', `refused: ${text}`, { cause: new Error(text) });

/** A cluster of servers that are made up: each answers as it is told, by its port. */
function madeUp(clock: ManualClock, answers: Record<number, Answer>) {
  const asked: [port: number, command: string][] = [];
  const closed: number[] = [];
  const redis = createCluster({
    nodes: [{ host: 'redis', port: 1 }],
    connect: ({ host, port }) => ({
      isCluster: false,
      async send(_key, args) {
        expect(host).toBe('redis');
        asked.push([port, args[0] ?? '']);
        const answer = await answers[port]?.(args);
        if (closed.includes(port)) throw new ProxyCacheError('closed', 'the connection was closed');
        if (answer instanceof Error) throw answer;
        return answer;
      },
      close: async () => void closed.push(port),
    }),
    clock,
    answerWithinMs: 1_000,
  });
  return { redis, asked, closed };
}

const all = (port: number) => [[0, 16_383, ['redis', port, 'id']]];
/** Answers a question for the slots; any other as `then` says. */
const having =
  (slots: () => unknown, then: Answer): Answer =>
  (args) =>
    args[0] === 'CLUSTER' ? slots() : then(args);
const get = (redis: ReturnType<typeof madeUp>['redis']) => redis.send('key', ['GET', 'key'], {});

test('a slot that had moved was asked for at all servers, and not found where they had not heard of it', async () => {
  const clock = manualClock();
  // None of them tells of the move yet but the one that was asked.
  const { redis, asked } = madeUp(clock, {
    1: having(
      () => all(1),
      () => says('MOVED 12539 redis:2'),
    ),
    2: having(
      () => all(1),
      () => 'here',
    ),
  });
  expect(await get(redis)).toBe('here');
  expect(asked.filter(([, command]) => command === 'GET')).toEqual([
    [1, 'GET'],
    [2, 'GET'],
  ]);
  // The next one knows it.
  expect(await get(redis)).toBe('here');
  expect(asked.at(-1)).toEqual([2, 'GET']);
  await redis.close();
});

test('a server that names itself without a host is where it was asked', async () => {
  const clock = manualClock();
  const { redis } = madeUp(clock, {
    1: having(
      () => [[0, 16_383, ['', 1, 'id']]],
      () => says('MOVED 12539 :2'),
    ),
    2: having(
      () => all(2),
      () => 'here',
    ),
  });
  expect(await get(redis)).toBe('here');
  await redis.close();
});

test('a command failed while its keys were on their way to another server', async () => {
  const clock = manualClock();
  let moved = false;
  const { redis, asked } = madeUp(clock, {
    1: having(
      () => all(1),
      () => (moved ? says('ASK 12539 redis:2') : says('TRYAGAIN Multiple keys request')),
    ),
    2: having(
      () => all(1),
      ([command]) => (command === 'ASKING' ? 'OK' : 'here'),
    ),
  });
  const answer = get(redis);
  await clock.advance(500);
  moved = true;
  await clock.advance(100);
  expect(await answer).toBe('here');
  expect(asked.slice(-2)).toEqual([
    [2, 'ASKING'],
    [2, 'GET'],
  ]);
  await redis.close();
});

test('a command whose keys stay on their way is tried again until the deadline, and no longer', async () => {
  const clock = manualClock();
  const { redis, asked } = madeUp(clock, {
    1: having(
      () => all(1),
      () => says('TRYAGAIN Multiple keys request'),
    ),
  });
  const answer = get(redis).catch((error) => error);
  await clock.advance(1_000);
  expect(await answer).toMatchObject({ code: 'storage-failed', message: expect.stringContaining('within 1000 ms') });
  const times = asked.length;
  expect(times).toBeGreaterThan(10);
  await clock.advance(1_000);
  expect(asked).toHaveLength(times);
  await redis.close();
});

test('a server that gave its last slot away was closed under the calls that it was answering', async () => {
  const clock = manualClock();
  let owner = 2;
  let answer = (_: string): void => undefined;
  const slow = new Promise<string>((resolve) => {
    answer = resolve;
  });
  const { redis, closed } = madeUp(clock, {
    1: having(
      () => all(owner),
      () => says('READONLY not the one'),
    ),
    2: having(
      () => all(owner),
      ([, key]) => (key === 'slow' ? slow : says('CLUSTERDOWN')),
    ),
    3: having(
      () => all(owner),
      () => 'here',
    ),
  });
  const underWay = redis.send('key', ['GET', 'slow'], {});
  await clock.advance(1);
  owner = 3;
  await clock.advance(1_000 - 2);
  // A failure is why it asks again for the slots.
  await expect(get(redis)).rejects.toThrow('CLUSTERDOWN');
  await expect.poll(() => get(redis).catch(() => 'not yet')).toBe('here');
  expect(closed).toEqual([]);
  answer('whole');
  expect(await underWay).toBe('whole');
  expect(closed).toEqual([2]);
  await redis.close();
  expect(closed).toEqual([2, 1, 3]);
});

test('a lease was taken for nobody, by a command that had waited for the slots for longer than its caller', async () => {
  const clock = manualClock();
  let answer = (_: unknown): void => undefined;
  const slots = new Promise((resolve) => {
    answer = resolve;
  });
  const { redis, asked } = madeUp(clock, {
    1: having(
      () => slots,
      () => 'taken',
    ),
  });
  let isSent = false;
  const sent = () => {
    isSent = true;
  };
  const taking = redis.send('key', ['EVALSHA', 'take'], { sent }).catch((error) => error);
  await clock.advance(1_000);
  expect(await taking).toMatchObject({ code: 'storage-failed', message: expect.stringContaining('within 1000 ms') });
  answer(all(1));
  await clock.advance(100);
  expect(asked).toEqual([[1, 'CLUSTER']]);
  expect(isSent).toBe(false);
  expect(await get(redis)).toBe('taken');
  await redis.close();
});
