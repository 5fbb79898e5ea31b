import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { createConnection } from './connection.ts';
import type { Redis, RedisEvent, RedisLink } from './redis.ts';

type State = { up?: boolean; answers?: boolean; lateBy?: number; isFull?: boolean; answerWithinMs?: number };

/** A server that is made up: what connecting to it and asking it come to is said by the test. */
function madeUp(clock: ManualClock, given: State = {}) {
  const links: { link: RedisLink; destroyed: boolean; lose(cause: Error): void }[] = [];
  const opened: number[] = [];
  const events: RedisEvent[] = [];
  let { up = true, answers = true, lateBy = 0, isFull = false } = given;
  let refused = 0;
  const { answerWithinMs = 1_000 } = given;

  function openLink(): RedisLink {
    let lost: ((cause: unknown) => void) | undefined;
    const link: RedisLink = {
      async send(args) {
        if (isFull && ++refused < 1_000) throw new Error('The queue is full');
        if (!answers) await new Promise(() => undefined);
        if (lateBy > 0) await new Promise<void>((resolve) => clock.after(lateBy, resolve));
        return args.join(' ');
      },
      subscribe: async () => undefined,
      unsubscribe: async () => undefined,
      onLost: (fn) => {
        lost = fn;
      },
      destroy: () => {
        entry.destroyed = true;
      },
    };
    const entry = { link, destroyed: false, lose: (cause: Error) => lost?.(cause) };
    links.push(entry);
    return link;
  }
  const redis = createConnection({
    server: 'redis:1',
    async open({ signal }) {
      opened.push(clock.monotonic());
      if (!answers) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      if (!up) throw new Error('connect ECONNREFUSED');
      return openLink();
    },
    clock,
    answerWithinMs,
    tell: (event) => events.push(event),
  });
  return {
    redis,
    links,
    opened,
    events,
    refused: () => refused,
    set: (state: State) => {
      up = state.up ?? up;
      answers = state.answers ?? answers;
      lateBy = state.lateBy ?? lateBy;
      isFull = state.isFull ?? isFull;
    },
  };
}

const ask = (redis: Redis, ...args: string[]) => redis.send('', args, {});
const outcome = (promise: Promise<unknown>) => promise.catch((error: Error) => error.message);

test('tries again at growing intervals with jitter, at most 2 s apart, and says once that it is away', async () => {
  const clock = manualClock();
  const { redis, opened, events, set } = madeUp(clock, { up: false });
  expect(await outcome(ask(redis, 'GET'))).toContain('redis:1) is away: connect ECONNREFUSED');
  await clock.advance(20_000);
  const pauses = opened.slice(1).map((at, attempt) => at - opened[attempt]!);
  for (const [attempt, pause] of pauses.entries()) {
    const longest = Math.min(50 * 2 ** attempt, 2_000);
    expect(pause).toBeGreaterThanOrEqual(longest / 2);
    expect(pause).toBeLessThanOrEqual(longest);
  }
  expect(new Set(pauses.slice(-5)).size).toBeGreaterThan(1);
  expect(events.map(({ type }) => type)).toEqual(['redis-lost']);
  set({ up: true });
  await clock.advance(2_000);
  expect(await ask(redis, 'GET', 'a')).toBe('GET a');
  expect(events.map(({ type }) => type)).toEqual(['redis-lost', 'redis-ready']);
  await redis.close();
});

test('waits for the first attempt after a connection that had lasted, and not for those after it', async () => {
  const clock = manualClock();
  const { redis, links, opened, events, set } = madeUp(clock);
  expect(await ask(redis, 'GET', 'a')).toBe('GET a');
  await clock.advance(60_000);
  links[0]!.lose(new Error('closed'));
  expect(await ask(redis, 'GET', 'b')).toBe('GET b');
  expect(events.map(({ type }) => type)).toEqual(['redis-ready', 'redis-ready']);

  await clock.advance(60_000);
  set({ up: false });
  links[1]!.lose(new Error('closed'));
  expect(await outcome(ask(redis, 'GET', 'c'))).toContain('is away');
  const attempts = opened.length;
  expect(await outcome(ask(redis, 'GET', 'd'))).toContain('is away');
  expect(opened.length).toBe(attempts);
  await redis.close();
});

test('does not connect in a loop to a server that ends each connection', async () => {
  const clock = manualClock();
  const { redis, links, opened } = madeUp(clock);
  await ask(redis, 'GET', 'a');
  for (let second = 0; second < 60; second++) {
    links.at(-1)!.lose(new Error('closed'));
    await clock.advance(1_000);
  }
  expect(opened.length).toBeLessThan(60);
  await redis.close();
});

test('gives up a connection on which nothing was answered within the deadline, and fails at once from then on', async () => {
  const clock = manualClock();
  const { redis, links, set } = madeUp(clock);
  await ask(redis, 'GET', 'a');
  set({ answers: false });
  const asked = outcome(ask(redis, 'GET', 'b'));
  await clock.advance(999);
  expect(links[0]!.destroyed).toBe(false);
  await clock.advance(1);
  expect(await asked).toBe('Redis (redis:1) did not answer GET within 1000 ms');
  expect(links[0]!.destroyed).toBe(true);
  expect(await outcome(ask(redis, 'GET', 'c'))).toContain('is away');
  // It takes connections and hangs on them.
  await clock.advance(60_000);
  expect(await outcome(ask(redis, 'GET', 'd'))).toContain('is away: not connected within 1000 ms');
  set({ answers: true });
  await clock.advance(5_000);
  expect(await ask(redis, 'GET', 'e')).toBe('GET e');
  await redis.close();
});

test('finds out while nobody asks that nothing is answered any more', async () => {
  const clock = manualClock();
  const { redis, events, set } = madeUp(clock);
  await ask(redis, 'GET', 'a');
  set({ answers: false });
  await clock.advance(10_000);
  expect(events.map(({ type }) => type)).toEqual(['redis-ready', 'redis-lost']);
  await redis.close();
});

test('leaves no timer behind when it is closed', async () => {
  for (const state of [{}, { up: false }, { answers: false }]) {
    const clock = manualClock();
    const { redis } = madeUp(clock, state);
    void outcome(ask(redis, 'GET', 'a'));
    await clock.advance(500);
    await redis.close();
    await clock.advance(1_000);
    expect(clock.pending()).toBe(0);
  }
});

test('of a server that answers, and too late, each of many questions was waited for in its turn', async () => {
  const clock = manualClock();
  const { redis, links, set } = madeUp(clock);
  set({ lateBy: 800 });
  const inTime = outcome(ask(redis, 'GET', 'a'));
  await clock.advance(100);
  set({ lateBy: 1_500 });
  const late = outcome(ask(redis, 'GET', 'b'));
  await clock.advance(1_000);
  expect(await inTime).toBe('GET a');
  expect(await late).toContain('did not answer GET within 1000 ms');
  let isDone = false;
  const next = outcome(ask(redis, 'GET', 'next')).finally(() => {
    isDone = true;
  });
  await clock.advance(0);
  expect(isDone).toBe(true);
  expect(await next).toContain('did not answer');
  expect(links[0]!.destroyed).toBe(false);

  // Some seconds later it has not caught up; then it has.
  await clock.advance(5_000);
  expect(await outcome(ask(redis, 'GET', 'later'))).toContain('did not answer');
  set({ lateBy: 0 });
  await clock.advance(5_000);
  expect(await ask(redis, 'GET', 'again')).toBe('GET again');
  await redis.close();
  await clock.advance(2_000);
  expect(clock.pending()).toBe(0);
});

test('a server that stood still was waited for by each connection to it, one after the other', async () => {
  const clock = manualClock();
  const [one, other] = [madeUp(clock), madeUp(clock)];
  await Promise.all([ask(one.redis, 'GET', 'a'), ask(other.redis, 'GET', 'a')]);
  await clock.advance(100);
  one.set({ answers: false });
  other.set({ answers: false });
  const late = outcome(ask(one.redis, 'GET', 'b'));
  await clock.advance(1_000);
  expect(await late).toContain('did not answer GET within 1000 ms');
  expect(await outcome(ask(other.redis, 'SET', 'c'))).toContain('did not answer GET within 1000 ms');

  for (const { set } of [one, other]) set({ answers: true });
  await clock.advance(5_000);
  expect(await ask(other.redis, 'GET', 'd')).toBe('GET d');
  await Promise.all([one.redis.close(), other.redis.close()]);
  await clock.advance(2_000);
  expect(clock.pending()).toBe(0);
});

test('a connection that is answered goes on when another to the same server is not, also when nobody had asked by it', async () => {
  const clock = manualClock();
  const [broken, whole] = [madeUp(clock), madeUp(clock)];
  await Promise.all([ask(broken.redis, 'GET', 'a'), ask(whole.redis, 'GET', 'a')]);
  await clock.advance(3_000);
  broken.set({ answers: false });
  const late = outcome(ask(broken.redis, 'GET', 'b'));
  await clock.advance(1_000);
  expect(await late).toContain('did not answer GET within 1000 ms');
  expect(await ask(whole.redis, 'GET', 'c')).toBe('GET c');
  expect(whole.links).toHaveLength(1);
  await Promise.all([broken.redis.close(), whole.redis.close()]);
});

test('a connection goes on when another that waits for less gives up the same server', async () => {
  const clock = manualClock();
  const [hasty, patient] = [madeUp(clock, { answerWithinMs: 100 }), madeUp(clock)];
  await Promise.all([ask(hasty.redis, 'GET', 'a'), ask(patient.redis, 'GET', 'a')]);
  await clock.advance(1_000);
  hasty.set({ lateBy: 300 });
  patient.set({ lateBy: 300 });
  const late = outcome(ask(hasty.redis, 'GET', 'b'));
  await clock.advance(100);
  expect(await late).toContain('did not answer GET within 100 ms');
  const inTime = ask(patient.redis, 'GET', 'c');
  await clock.advance(300);
  expect(await inTime).toBe('GET c');
  await Promise.all([hasty.redis.close(), patient.redis.close()]);
});

test('a lease was taken for nobody, by a command that had waited for the connection for longer than its caller', async () => {
  const clock = manualClock();
  const asked: string[] = [];
  let answer = (_: RedisLink): void => undefined;
  const opened = new Promise<RedisLink>((resolve) => {
    answer = resolve;
  });
  const link: RedisLink = {
    send: async ([command = '']) => asked.push(command),
    subscribe: async () => undefined,
    unsubscribe: async () => undefined,
    onLost: () => undefined,
    destroy: () => undefined,
  };
  const redis = createConnection({
    server: 'redis:2',
    // It does not heed that nobody wants it any more, as one that is ready at that instant.
    open: () => opened,
    clock,
    answerWithinMs: 1_000,
    tell: () => undefined,
  });
  const taking = outcome(ask(redis, 'EVALSHA', 'take'));
  await clock.advance(1_000);
  expect(await taking).toContain('did not answer EVALSHA within 1000 ms');
  answer(link);
  await clock.advance(100);
  await ask(redis, 'GET', 'a');
  expect(asked).toEqual(['GET']);
  await redis.close();
});

test('a server that answered late, and had more waiting than may wait, was asked for an answer without a pause', async () => {
  const clock = manualClock();
  const { redis, refused, set } = madeUp(clock, { lateBy: 800 });
  const inTime = outcome(ask(redis, 'GET', 'a'));
  await clock.advance(100);
  set({ lateBy: 1_500 });
  const late = outcome(ask(redis, 'GET', 'b'));
  await clock.advance(700);
  expect(await inTime).toBe('GET a');
  set({ isFull: true });
  await clock.advance(1_300);
  expect(await late).toContain('did not answer GET');
  expect(refused()).toBeGreaterThan(5);
  expect(refused()).toBeLessThan(50);
  set({ isFull: false, lateBy: 0 });
  await clock.advance(1_000);
  expect(await ask(redis, 'GET', 'c')).toBe('GET c');
  await redis.close();
});
