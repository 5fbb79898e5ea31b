import { EventEmitter } from 'node:events';
import { casesOf, coordinatorContract } from '@proxycache/contract';
import { manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../runtime/clock.ts';
import { systemClock } from '../runtime/clock.ts';
import type { PrimaryPort } from './cluster-calls.ts';
import { clusterCoordinator, coordinatorOver } from './cluster-coordinator.ts';
import { createClusterMembers } from './cluster-members.ts';
import { isToPrimary } from './cluster-messages.ts';
import { createLeaseTable, type LeaseTable } from './lease-table.ts';
import { serveClusterCoordinator } from './serve-cluster-coordinator.ts';

const { signal } = new AbortController();
const lease = { for: 60_000, signal };

/** A worker's channel to a table in this process. While it stands still, what it was sent waits. */
function portTo(table: LeaseTable) {
  const events = new EventEmitter();
  const waiting: unknown[] = [];
  let isStill = false;
  const bring = (message: unknown) => setImmediate(() => events.emit('message', structuredClone(message)));
  const members = createClusterMembers(table, bring);
  const handle = (message: unknown) => {
    if (isToPrimary(message)) bring(members.answer(message));
  };
  const port = Object.assign(events as EventEmitter & Pick<PrimaryPort, 'on' | 'off'>, {
    connected: true,
    send(message: unknown, done: (error: Error | null) => void) {
      const sent = structuredClone(message);
      setImmediate(() => {
        done(null);
        if (isStill) waiting.push(sent);
        else handle(sent);
      });
    },
  });
  return {
    port,
    members,
    freeze: () => {
      isStill = true;
    },
    thaw() {
      isStill = false;
      for (const message of waiting.splice(0)) handle(message);
    },
    disconnect() {
      port.connected = false;
      port.emit('disconnect');
    },
  };
}

function pair({ clock = systemClock, table = createLeaseTable(clock) }: { clock?: Clock; table?: LeaseTable } = {}) {
  const primary = portTo(table);
  return { primary, coordinator: coordinatorOver(primary.port, { clock }) };
}

describe('a coordinator over a channel', () => {
  const make = async () => {
    const table = createLeaseTable(systemClock);
    const [one, other] = [pair({ table }).coordinator, pair({ table }).coordinator];
    return { one, other, close: async () => void (await Promise.all([one.close(), other.close()])) };
  };
  for (const { name, run } of casesOf(coordinatorContract)) test(name, () => run(make));
});

test('fails a call that the primary does not answer in time', async () => {
  const clock = manualClock();
  const { primary, coordinator } = pair({ clock });
  primary.freeze();
  const asked = expect(coordinator.holder('key')).rejects.toMatchObject({
    code: 'storage-failed',
    message: expect.stringContaining('within 1000 ms'),
  });
  await clock.advance(1_000);
  await asked;
});

test('leaves a primary alone that did not answer three times, until it does', async () => {
  const clock = manualClock();
  const { primary, coordinator } = pair({ clock });
  primary.freeze();
  for (let turn = 0; turn < 3; turn++) {
    const asked = expect(coordinator.acquire('key', lease)).rejects.toMatchObject({ code: 'storage-failed' });
    await clock.advance(1_000);
    await asked;
  }
  await expect(coordinator.acquire('key', lease)).rejects.toThrow('left alone');
  primary.thaw();
  await expect.poll(() => coordinator.acquire('other', lease).catch(() => undefined)).toBeDefined();
});

test('gives back a lease that came when nobody waited for it any more', async () => {
  const clock = manualClock();
  const table = createLeaseTable(clock);
  const { primary, coordinator } = pair({ clock, table });
  primary.freeze();
  const asked = expect(coordinator.acquire('key', lease)).rejects.toMatchObject({ code: 'storage-failed' });
  await clock.advance(1_000);
  await asked;
  primary.thaw();
  const { coordinator: other } = pair({ clock, table });
  await expect.poll(() => other.holder('key')).toBeUndefined();
});

test('loses a lease in time while the primary stands still, and gives it back when it goes on', async () => {
  const clock = manualClock();
  const table = createLeaseTable(clock);
  const { primary, coordinator } = pair({ clock, table });
  const held = await coordinator.acquire('key', { for: 3_000, signal });
  primary.freeze();
  await clock.advance(2_999);
  expect(held?.lost.aborted).toBe(false);
  await clock.advance(1);
  expect(held?.lost.reason).toMatchObject({ code: 'storage-failed' });
  primary.thaw();
  const { coordinator: other } = pair({ clock, table });
  await expect.poll(() => other.acquire('key', lease)).toBeDefined();
});

test('keeps a lease over a short stand-still of the primary, also after it was left alone', async () => {
  const clock = manualClock();
  const { primary, coordinator } = pair({ clock });
  const held = await coordinator.acquire('key', { for: 30_000, signal });
  primary.freeze();
  for (let turn = 0; turn < 3; turn++) {
    const asked = expect(coordinator.holder('key')).rejects.toMatchObject({ code: 'storage-failed' });
    await clock.advance(1_000);
    await asked;
  }
  await clock.advance(9_000);
  primary.thaw();
  await clock.advance(25_000);
  expect(held?.lost.aborted).toBe(false);
});

test('renews in time for the shortest of its leases', async () => {
  const clock = manualClock();
  const { coordinator } = pair({ clock });
  const long = await coordinator.acquire('long', { for: 60_000, signal });
  const short = await coordinator.acquire('short', { for: 300, signal });
  for (let turn = 0; turn < 50; turn++) await clock.advance(50);
  expect([long?.lost.aborted, short?.lost.aborted]).toEqual([false, false]);
});

test('fails what waits, and loses what it holds, when the primary is gone', async () => {
  const { primary, coordinator } = pair();
  const held = await coordinator.acquire('key', lease);
  primary.freeze();
  const asked = expect(coordinator.holder('key')).rejects.toMatchObject({ code: 'storage-failed' });
  await new Promise(setImmediate);
  primary.disconnect();
  await asked;
  expect(held?.lost.aborted).toBe(true);
  await expect(coordinator.acquire('key', lease)).rejects.toMatchObject({ code: 'storage-failed' });
});

test('takes no notice of what else comes over the channel', async () => {
  const { primary, coordinator } = pair();
  for (const message of [undefined, null, 'text', 7, {}, { id: 1, answer: 'x' }]) primary.port.emit('message', message);
  expect(await coordinator.holder('key')).toBeUndefined();
});

test('is closed once and for all, and leaves the channel as it was', async () => {
  const table = createLeaseTable(systemClock);
  const { primary, coordinator } = pair({ table });
  const held = await coordinator.acquire('key', lease);
  coordinator.subscribe('channel', () => undefined);
  await coordinator.close();
  expect(held?.lost.reason).toMatchObject({ code: 'closed' });
  expect(await pair({ table }).coordinator.holder('key')).toBeUndefined();
  await expect(coordinator.holder('key')).rejects.toMatchObject({ code: 'closed' });
  expect([primary.port.listenerCount('message'), primary.port.listenerCount('disconnect')]).toEqual([0, 0]);
});

describe('two coordinators of one worker', () => {
  function three(names: { one: string; other: string }) {
    const table = createLeaseTable(systemClock);
    const { port, members } = portTo(table);
    const [one, other] = [coordinatorOver(port, { name: names.one }), coordinatorOver(port, { name: names.other })];
    return { one, other, members, elsewhere: coordinatorOver(portTo(table).port, { name: names.other }) };
  }

  test('take no answer that the other asked for', async () => {
    const { one, other, elsewhere } = three({ one: 'a', other: 'b' });
    await elsewhere.acquire('key', { ...lease, value: 'elsewhere' });
    const [first, second] = await Promise.all([
      one.acquire('key', { ...lease, value: 'one' }),
      other.acquire('key', lease),
    ]);
    expect([first?.token, second]).toEqual([expect.any(Number), undefined]);
    expect(await Promise.all([one.holder('key'), other.holder('key')])).toEqual(['one', 'elsewhere']);
    const [nobody, granted] = await Promise.all([one.holder('free'), other.acquire('free', lease)]);
    expect([nobody, granted?.token]).toEqual([undefined, expect.any(Number)]);
  });

  test('of the same name hear what is published, also once the other listens no more', async () => {
    const { one, other, elsewhere } = three({ one: 'same', other: 'same' });
    const heard: string[] = [];
    const end = one.subscribe('channel', (message) => heard.push(`one ${message}`));
    other.subscribe('channel', (message) => heard.push(`other ${message}`));
    await elsewhere.publish('channel', '1');
    end();
    await elsewhere.publish('channel', '2');
    await one.publish('channel', '3');
    await one.close();
    await elsewhere.publish('channel', '4');
    await other.holder('key');
    expect(heard).toEqual(['one 1', 'other 1', 'other 2', 'other 3', 'other 4']);
  });

  test('keep their leases when the other is closed, and lose them with their worker', async () => {
    const { one, other, members, elsewhere } = three({ one: 'same', other: 'same' });
    await one.acquire('left', lease);
    await other.acquire('kept', { ...lease, value: 'other' });
    await one.close();
    expect([await elsewhere.holder('left'), await elsewhere.holder('kept')]).toEqual([undefined, 'other']);
    members.leave();
    expect(await elsewhere.holder('kept')).toBeUndefined();
  });
});

test('holds nothing that it asked for when it was closed', async () => {
  const table = createLeaseTable(systemClock);
  const { primary, coordinator } = pair({ table });
  await coordinator.holder('key');
  primary.freeze();
  const asked = expect(coordinator.acquire('key', lease)).rejects.toMatchObject({ code: 'closed' });
  await new Promise(setImmediate);
  const closed = coordinator.close();
  const tooLate = expect(coordinator.acquire('other', lease)).rejects.toMatchObject({ code: 'closed' });
  primary.thaw();
  await Promise.all([asked, tooLate, closed, coordinator.close()]);
  const next = pair({ table }).coordinator;
  expect([await next.holder('key'), await next.holder('other')]).toEqual([undefined, undefined]);
});

test.each([
  [{ name: '' }, 'name: expected text, received ""'],
  [{ answerWithin: 0 }, 'answerWithin: expected'],
  [{ answerWithin: '2m' as const }, 'answerWithin: expected 1 ms to 60 s, received "2m"'],
])('refuses %j', (options, message) => {
  const { port } = portTo(createLeaseTable(systemClock));
  expect(() => coordinatorOver(port, options)).toThrow(message);
});

test('refuses to work in a process that has no primary, and says what it is for', () => {
  const { send } = process;
  Object.assign(process, { send: undefined });
  try {
    expect(() => clusterCoordinator()).toThrow('cluster.fork()');
  } finally {
    Object.assign(process, { send });
  }
});

test('is served by a primary until that is ended', () => {
  const end = serveClusterCoordinator();
  expect(end()).toBeUndefined();
});
