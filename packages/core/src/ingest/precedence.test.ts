import { manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { collect } from '../runtime/bytes.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { inTurn } from './in-turn.ts';
import { createPrecedence, type Standing } from './precedence.ts';

const kib = 1024;
const { signal } = new AbortController();
const spare = () => ({
  calls: 0,
  claimed() {
    this.calls++;
  },
});

describe('a transfer that nobody asked for', () => {
  test('waits while a client’s comes in from its upstream, and for those of no other', () => {
    const precedence = createPrecedence(manualClock());
    const own = precedence.enter('up', spare());
    expect(own.mustWait()).toBe(false);
    const others = precedence.enter('other');
    const clients = precedence.enter('up');
    expect(own.mustWait()).toBe(true);
    clients.end();
    clients.end();
    expect(own.mustWait()).toBe(false);
    others.end();
  });

  test('goes on when the last client’s has ended', async () => {
    const precedence = createPrecedence(manualClock());
    const [one, two] = [precedence.enter('up'), precedence.enter('up')];
    const own = precedence.enter('up', spare());
    let isOn = false;
    const turn = own.turn(signal).then(() => {
      isOn = true;
    });
    one.end();
    await Promise.resolve();
    expect(isOn).toBe(false);
    two.end();
    await turn;
  });

  test('goes on when it is asked for, and is in the way of the others then', async () => {
    const precedence = createPrecedence(manualClock());
    precedence.enter('up');
    const given = spare();
    const own = precedence.enter('up', given);
    const third = precedence.enter('up', spare());
    const turn = own.turn(signal);
    own.claim();
    own.claim();
    await turn;
    expect([own.isSpare(), own.mustWait(), third.mustWait(), given.calls]).toEqual([false, false, true, 1]);
  });

  test('stops waiting when it is ended', async () => {
    const precedence = createPrecedence(manualClock());
    precedence.enter('up');
    const left = new AbortController();
    const turn = precedence.enter('up', spare()).turn(left.signal);
    left.abort(new Error('given up'));
    await expect(turn).rejects.toThrow('given up');
    await expect(precedence.enter('up', spare()).turn(left.signal)).rejects.toThrow('given up');
  });
});

test('it is quiet from when the last client’s transfer has ended, whatever nobody asked for', async () => {
  const clock = manualClock();
  const precedence = createPrecedence(clock);
  const quiet = () => precedence.quietFor('up');
  expect(quiet()).toBe(Number.POSITIVE_INFINITY);
  const own = precedence.enter('up', spare());
  expect(quiet()).toBe(Number.POSITIVE_INFINITY);
  const clients = precedence.enter('up');
  await clock.advance(100);
  expect(quiet()).toBe(0);
  clients.end();
  await clock.advance(100);
  expect(quiet()).toBe(100);
  own.claim();
  expect(quiet()).toBe(0);
  own.end();
  expect([quiet(), precedence.quietFor('other')]).toEqual([0, Number.POSITIVE_INFINITY]);
});

describe('its body', () => {
  async function* chunks(count: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let i = 0; i < count; i++) yield new Uint8Array(256 * kib).fill(i);
  }
  const found = (count: number): Reply<FetchedBlob> => ({ kind: 'found', value: { start: 0, body: chunks(count) } });

  async function bodyOf(standing: Standing, count: number, ending = signal) {
    const reply = await inTurn(async () => found(count), standing)(0, ending);
    if (reply.kind !== 'found') throw new Error('not found');
    return reply.value.body[Symbol.asyncIterator]();
  }

  test('passes up to 1 MiB at once, and the rest when the client’s has ended', async () => {
    const precedence = createPrecedence(manualClock());
    const clients = precedence.enter('up');
    const body = await bodyOf(precedence.enter('up', spare()), 6);
    for (let i = 0; i < 4; i++) expect((await body.next()).value?.[0]).toBe(i);
    let isHere = false;
    const fifth = body.next().then((result) => {
      isHere = true;
      return result.value?.[0];
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isHere).toBe(false);
    clients.end();
    expect(await fifth).toBe(4);
    expect((await body.next()).value?.[0]).toBe(5);
    expect((await body.next()).done).toBe(true);
  });

  test('ends when its reader leaves while it waits, and breaks off when the transfer is ended', async () => {
    const precedence = createPrecedence(manualClock());
    precedence.enter('up');
    const ending = new AbortController();
    const [one, two] = await Promise.all([1, 2].map(() => bodyOf(precedence.enter('up', spare()), 6, ending.signal)));
    for (let i = 0; i < 4; i++) await Promise.all([one!.next(), two!.next()]);
    const waiting = one!.next();
    await one!.return!();
    expect((await waiting).done).toBe(true);
    const broken = two!.next();
    ending.abort(new Error('the end'));
    await expect(broken).rejects.toThrow('the end');
  });

  test('passes untouched once a client has asked', async () => {
    const standing = createPrecedence(manualClock()).enter('up', spare());
    standing.claim();
    const reply = found(8);
    const same = await inTurn(async () => reply, standing)(0, signal);
    expect(same).toBe(reply);
    if (same.kind === 'found') expect((await collect(same.value.body, 1e9))?.byteLength).toBe(2048 * kib);
  });
});
