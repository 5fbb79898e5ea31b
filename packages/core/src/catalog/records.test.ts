import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FlakyStorage, flakyStore, gate, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { StoreEvent } from '../store/events.ts';
import { keyPath } from '../store/file-key-path.ts';
import { fileStorage } from '../store/file-storage.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { createRecords, type Records } from './records.ts';

type Count = { count: number; by?: string };

const { signal } = new AbortController();
let clock: ManualClock;
let storage: FlakyStorage;
let events: StoreEvent[];
let records: Records<Count>;

beforeEach(() => {
  clock = manualClock();
  storage = flakyStore(memoryStorage({ clock }));
  events = [];
  records = create();
});

/** Records as another process, or this one after a restart, has them. */
function create(most = 100): Records<Count> {
  return createRecords<Count>({ metadata: storage.metadata, observe: (event) => events.push(event), clock }, most);
}

const add = (by: number) => (record: Count | undefined) => ({ ...record, count: (record?.count ?? 0) + by });
const stored = async (key: string) => {
  const entry = await storage.metadata.get(key, { signal });
  return entry && JSON.parse(entry.value);
};

describe('a change', () => {
  it('is in the store when its promise resolves, and there after a restart', async () => {
    expect(await records.get('a', signal)).toBeUndefined();
    await records.update('a', add(1));
    expect(await stored('a')).toEqual({ format: 1, count: 1 });
    expect(await create().get('a', signal)).toEqual({ count: 1 });
  });

  it('of what memory does not know is written at once, and on top of what the store has where it has something', async () => {
    const reads = () => storage.calls('metadata.get');
    await records.update('a', add(1));
    expect(reads()).toBe(0);
    const restarted = create();
    await restarted.update('a', add(10));
    expect(reads()).toBe(1);
    expect(await stored('a')).toMatchObject({ count: 11 });
  });

  it('of which the store is to have the news leaves what it had to be read until then', async () => {
    const parts = { metadata: storage.metadata, observe: () => {}, clock };
    const news = createRecords<Count>(parts, 100, { isNews: () => true });
    expect(news.before('a')).toBeUndefined();
    const held = gate();
    storage.on('metadata.set', { gate: held, times: 1 });
    const first = news.update('a', add(1));
    await held.reached;
    // There was nothing before.
    expect(news.before('a')).toBeUndefined();
    held.open();
    await first;
    expect(news.before('a')).toBeUndefined();
    const again = gate();
    storage.on('metadata.set', { gate: again, times: 1 });
    const second = news.update('a', add(1));
    expect(news.before('a')).toEqual({ count: 1 });
    again.open();
    await second;
    expect(news.before('a')).toBeUndefined();
    expect(await news.get('a', signal)).toEqual({ count: 2 });
  });

  it('of a damaged record leaves nothing to be read until the store has it', async () => {
    await storage.metadata.set('a', '{"format":1,"cou', { signal });
    const parts = { metadata: storage.metadata, observe: () => {}, clock };
    const news = createRecords<Count>(parts, 100, { isNews: () => true });
    const [asNew, held] = [gate(), gate()];
    storage.on('metadata.set', { gate: asNew, times: 1 });
    const update = news.update('a', add(1));
    await asNew.reached;
    // It is read then, as it is there, and written without conditions.
    storage.on('metadata.set', { gate: held, times: 1 });
    asNew.open();
    await held.reached;
    expect(news.before('a')).toBeUndefined();
    held.open();
    await update;
    expect(await news.get('a', signal)).toEqual({ count: 1 });
  });

  it('that comes while what memory does not know is being written follows it', async () => {
    const held = gate();
    storage.on('metadata.set', { gate: held, times: 1 });
    const first = records.update('a', add(1));
    await held.reached;
    const second = records.update('a', add(10));
    expect(await records.get('a', signal)).toEqual({ count: 11 });
    held.open();
    await Promise.all([first, second]);
    expect(await records.get('a', signal)).toEqual({ count: 11 });
    expect(await stored('a')).toMatchObject({ count: 11 });
  });

  it('is seen at once, before the store has it', async () => {
    await records.update('a', add(1));
    const held = gate();
    storage.on('metadata.set', { gate: held });
    const saving = records.update('a', add(1));
    expect(await records.get('a', signal)).toEqual({ count: 2 });
    expect(await stored('a')).toMatchObject({ count: 1 });
    held.open();
    await saving;
    expect(await stored('a')).toMatchObject({ count: 2 });
  });

  it('is seen at once also where the record was not in memory', async () => {
    await create().update('a', add(10));
    const held = gate();
    storage.on('metadata.get', { gate: held, times: 1 });
    const saving = records.update('a', add(1));
    await held.reached;
    expect(await records.get('a', signal)).toEqual({ count: 11 });
    held.open();
    await saving;
    expect(await stored('a')).toMatchObject({ count: 11 });
  });

  it('is not lost to a reader that brings the record into memory meanwhile', async () => {
    await create().update('a', add(10));
    const held = gate();
    storage.on('metadata.get', { gate: held });
    const reading = records.get('a', signal);
    await held.reached;
    const saving = records.update('a', add(1));
    held.open();
    await saving;
    expect((await reading)?.count).toBeGreaterThanOrEqual(10);
    expect(await records.get('a', signal)).toEqual({ count: 11 });
    expect(await stored('a')).toMatchObject({ count: 11 });
  });

  it('that leaves the record alone writes nothing', async () => {
    await records.update('a', () => undefined);
    expect(await stored('a')).toBeUndefined();
    await records.update('a', add(1));
    const before = storage.calls('metadata.set');
    await records.update('a', () => undefined);
    await create().update('a', () => undefined);
    expect(storage.calls('metadata.set')).toBe(before);
    expect(await records.get('a', signal)).toEqual({ count: 1 });
    expect(clock.pending()).toBe(0);
  });
});

it('saves many changes of one record together', async () => {
  const held = gate();
  storage.on('metadata.set', { gate: held, times: 1 });
  const saving = Array.from({ length: 50 }, () => records.update('a', add(1)));
  await held.reached;
  saving.push(...Array.from({ length: 50 }, () => records.update('a', add(1))));
  held.open();
  await Promise.all(saving);
  expect(await stored('a')).toMatchObject({ count: 100 });
  expect(storage.calls('metadata.set')).toBeLessThanOrEqual(3);
});

describe('another writer of the same store', () => {
  it('is not overwritten: the changes are made on top of what it wrote', async () => {
    const other = create();
    await records.update('a', add(1));
    await other.update('a', (record) => ({ ...add(10)(record), by: 'other' }));
    await records.update('a', add(1));
    expect(await stored('a')).toEqual({ format: 1, count: 12, by: 'other' });
    expect(await records.get('a', signal)).toEqual({ count: 12, by: 'other' });
  });

  it('that writes in between is met by another try, with all the changes', async () => {
    const other = create();
    await records.update('a', add(1));
    const held = gate();
    storage.on('metadata.set', { gate: held, times: 1 });
    const saving = [records.update('a', add(1))];
    await held.reached;
    saving.push(records.update('a', add(1)), records.update('a', add(1)));
    await other.update('a', add(100));
    held.open();
    await Promise.all(saving);
    expect(await stored('a')).toMatchObject({ count: 104 });
    expect(await records.get('a', signal)).toEqual({ count: 104 });
  });

  it('that never lets go is given up on, and memory goes on', async () => {
    const { metadata } = storage;
    let writes = 0;
    const contested = createRecords<Count>(
      {
        metadata: {
          ...metadata,
          async set(key, value, options) {
            writes++;
            await metadata.set(key, JSON.stringify({ format: 1, count: 1000 * writes }), { signal });
            return metadata.set(key, value, options);
          },
        },
        observe: (event) => events.push(event),
        clock,
      },
      100,
    );
    await contested.update('a', add(1));
    expect(writes).toBe(4);
    expect(events).toEqual([
      expect.objectContaining({ operation: 'metadata-set', error: expect.stringMatching(/4 conflicting writes/) }),
    ]);
    expect(await contested.get('a', signal)).toMatchObject({ count: 3001 });
  });
});

describe('a store that fails', () => {
  it('to write is an event: memory goes on, and the next change brings all of it there', async () => {
    await records.update('a', add(1));
    storage.on('metadata.set', { fail: 'disk full', times: 1 });
    await records.update('a', add(1));
    expect(events).toEqual([{ type: 'store-failed', operation: 'metadata-set', subject: 'a', error: 'disk full' }]);
    expect(await records.get('a', signal)).toEqual({ count: 2 });
    await records.update('a', add(1));
    expect(await stored('a')).toMatchObject({ count: 3 });
  });

  it('to write keeps the changes that came meanwhile', async () => {
    await create().update('a', add(10));
    const held = gate();
    storage.on('metadata.get', { gate: held, times: 1 });
    const first = records.update('a', add(1));
    await held.reached;
    const second = records.update('a', add(1));
    storage.on('metadata.set', { fail: 'disk full', times: 1 });
    held.open();
    await Promise.all([first, second]);
    expect(await stored('a')).toMatchObject({ count: 12 });
  });

  it('altogether is lived without', async () => {
    storage.on('metadata.get', { fail: 'away' });
    storage.on('metadata.set', { fail: 'away' });
    expect(await records.get('a', signal)).toBeUndefined();
    await records.update('a', add(1));
    await records.update('a', add(1));
    expect(await records.get('a', signal)).toEqual({ count: 2 });
    storage.heal();
    await records.update('a', add(1));
    expect(await stored('a')).toMatchObject({ count: 3 });
  });

  it('to write is tried again by itself, on top of what others wrote meanwhile', async () => {
    storage.on('metadata.set', { fail: 'away', times: 1 });
    await records.update('a', add(1));
    await create().update('a', add(10));
    await clock.advance(999);
    expect(await stored('a')).toMatchObject({ count: 10 });
    await clock.advance(1);
    expect(await stored('a')).toMatchObject({ count: 11 });
    expect(await records.get('a', signal)).toEqual({ count: 11 });
    expect(clock.pending()).toBe(0);
  });

  it('for long is tried ever less often, a few records at a time, and gets all of them when it is back', async () => {
    storage.on('metadata.set', { fail: 'away' });
    const keys = Array.from({ length: 50 }, (_, at) => `k${at}`);
    for (const key of keys) await records.update(key, add(1));
    const before = storage.calls('metadata.set');
    await clock.advance(3_600_000);
    const tries = storage.calls('metadata.set') - before;
    expect(tries).toBeGreaterThan(60);
    expect(tries).toBeLessThan(8 * 70);
    storage.heal();
    await clock.advance(60_000);
    for (const key of keys) expect(await stored(key)).toMatchObject({ count: 1 });
    expect(clock.pending()).toBe(0);
  });

  it('for one record does not keep the others from being saved', async () => {
    const { metadata } = storage;
    let away = true;
    const set: typeof metadata.set = async (key, value, options) => {
      if (away || key === 'bad') throw new Error('away');
      return await metadata.set(key, value, options);
    };
    const some = createRecords<Count>({ metadata: { ...metadata, set }, observe: () => undefined, clock }, 100);
    for (const key of ['bad', 'a', 'b']) await some.update(key, add(1));
    away = false;
    await clock.advance(10_000);
    expect([await stored('a'), await stored('b')]).toMatchObject([{ count: 1 }, { count: 1 }]);
    expect(await stored('bad')).toBeUndefined();
  });

  it('leaves only so many records waiting: the one tried longest ago is dropped, with an event', async () => {
    storage.on('metadata.set', { fail: 'away' });
    const few = create(2);
    for (const key of ['a', 'b', 'c']) await few.update(key, add(1));
    expect(events.at(-1)).toMatchObject({
      type: 'store-failed',
      subject: 'a',
      error: expect.stringMatching(/too many/),
    });
    storage.heal();
    await clock.advance(1_000);
    expect(await stored('a')).toBeUndefined();
    expect(await stored('b')).toMatchObject({ count: 1 });
    expect(await stored('c')).toMatchObject({ count: 1 });
  });

  it('keeps also the changes of records that memory has let go of', async () => {
    for (const key of ['y', 'z']) await create().update(key, add(1));
    storage.on('metadata.set', { fail: 'away' });
    const few = create(2);
    await few.update('a', add(1));
    for (const key of ['y', 'z']) await few.get(key, signal);
    expect(await few.get('a', signal)).toEqual({ count: 1 });
    storage.heal();
    await clock.advance(1_000);
    expect(await stored('a')).toMatchObject({ count: 1 });
  });

  it('is tried once more by settled, after which nothing waits', async () => {
    storage.on('metadata.set', { fail: 'away', times: 1 });
    const others = create();
    await others.update('a', add(1));
    await others.settled();
    expect(await stored('a')).toMatchObject({ count: 1 });
    storage.on('metadata.set', { fail: 'away' });
    await records.update('b', add(1));
    await records.settled();
    expect(clock.pending()).toBe(0);
    expect(events).toMatchObject(['a', 'b', 'b'].map((subject) => ({ subject })));
  });

  it('was tried again and again for a change that came after settled', async () => {
    await records.settled();
    storage.on('metadata.set', { fail: 'away' });
    await records.update('a', add(1));
    expect(clock.pending()).toBe(0);
    expect(events).toMatchObject([{ subject: 'a' }]);
  });

  it('to read says what came meanwhile, and does not take it for all there is', async () => {
    await create().update('a', add(10));
    const held = gate();
    storage.on('metadata.get', { gate: held, times: 1 });
    const saving = records.update('a', add(1));
    await held.reached;
    storage.on('metadata.get', { fail: 'away', times: 1 });
    expect(await records.get('a', signal)).toEqual({ count: 1 });
    storage.heal();
    held.open();
    await saving;
    expect(await records.get('a', signal)).toEqual({ count: 11 });
  });

  it('is no failure of a caller who left: that one is told by its own signal', async () => {
    storage.on('metadata.get', { hang: true });
    const caller = new AbortController();
    const reading = records.get('a', caller.signal);
    caller.abort(new Error('the client left'));
    await expect(reading).rejects.toThrow('the client left');
    expect(events).toEqual([]);
  });
});

describe('what stands in the store', () => {
  it.each(['', 'no json', '[]', '{"count":1}', 'null'])(
    'damaged (%j) counts as nothing, and is replaced',
    async (text) => {
      await storage.metadata.set('a', text, { signal });
      expect(await records.get('a', signal)).toBeUndefined();
      expect(events.at(-1)).toMatchObject({ type: 'store-failed', operation: 'metadata-get', subject: 'a' });
      await records.update('a', add(1));
      expect(await stored('a')).toEqual({ format: 1, count: 1 });
    },
  );

  it('and its file cut to nothing, as after a loss of power, counts as nothing and is replaced by the next change', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'records-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    storage = flakyStore(fileStorage(directory, { clock }));
    await create().update('a', add(1));
    const file = join(directory, 'metadata', keyPath('a'));
    truncateSync(file);
    const restarted = create();
    expect(await restarted.get('a', signal)).toBeUndefined();
    expect(events).toEqual([expect.objectContaining({ operation: 'metadata-get', subject: 'a' })]);
    await restarted.update('a', add(5));
    expect(await stored('a')).toEqual({ format: 1, count: 5 });
    // What memory knows outlives the damage.
    truncateSync(file);
    await restarted.update('a', add(1));
    expect(await stored('a')).toEqual({ format: 1, count: 6 });
  });

  it('of a later release is neither read nor overwritten', async () => {
    const text = JSON.stringify({ format: 2, total: 7 });
    await storage.metadata.set('a', text, { signal });
    expect(await records.get('a', signal)).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ error: expect.stringContaining('a has format 2, this release reads 1') });
    await records.update('a', add(1));
    expect((await storage.metadata.get('a', { signal }))?.value).toBe(text);
    expect(await records.get('a', signal)).toEqual({ count: 1 });
  });
});

it('holds only the latest records in memory; the others are read again', async () => {
  const few = create(2);
  for (const key of ['a', 'b', 'c']) await few.update(key, add(1));
  const before = storage.calls('metadata.get');
  expect(await few.get('a', signal)).toEqual({ count: 1 });
  expect(storage.calls('metadata.get')).toBe(before + 1);
  // One that leaves memory while it is saved is saved all the same.
  const held = gate();
  storage.on('metadata.set', { gate: held });
  const saving = [few.update('a', add(1)), few.update('a', add(1))];
  await held.reached;
  saving.push(few.update('x', add(1)), few.update('y', add(1)));
  await clock.advance(0);
  held.open();
  await Promise.all(saving);
  expect(await stored('a')).toMatchObject({ count: 3 });
});

it('is settled when no change is under way', async () => {
  await records.settled();
  const held = gate();
  storage.on('metadata.set', { gate: held });
  void records.update('a', add(1));
  void records.update('a', add(1));
  void records.update('b', add(1));
  let settled = false;
  const settling = records.settled().then(() => {
    settled = true;
  });
  await held.reachedBy(2);
  expect(settled).toBe(false);
  held.open();
  await settling;
  expect(await stored('a')).toMatchObject({ count: 2 });
  expect(await stored('b')).toMatchObject({ count: 1 });
});

it('holds records of any length by their bytes, and reads what it let go of from the store', async () => {
  const { metadata } = memoryStorage();
  const counted = { ...metadata, reads: 0 };
  counted.get = (key, options) => {
    counted.reads++;
    return metadata.get(key, options);
  };
  const parts = { metadata: counted, observe: () => undefined, clock: manualClock() };
  const records = createRecords<{ text: string }>(parts, 100, { maxBytes: 10_000 });
  for (const key of ['a/1', 'a/2', 'a/3']) await records.update(key, () => ({ text: key.repeat(600) }));
  counted.reads = 0;
  const { signal } = new AbortController();
  expect((await records.get('a/3', signal))?.text).toHaveLength(1800);
  expect(counted.reads).toBe(0);
  expect((await records.get('a/1', signal))?.text).toHaveLength(1800);
  expect(counted.reads).toBe(1);
});

describe('a record that another process wrote', () => {
  it('is seen by refresh, and from then on', async () => {
    await records.update('a', add(1));
    await create().update('a', add(10));
    expect(await records.get('a', signal)).toEqual({ count: 1 });
    expect(await records.refresh('a', signal)).toEqual({ count: 11 });
    expect(await records.get('a', signal)).toEqual({ count: 11 });
  });

  it('is not seen while the store fails: memory goes on', async () => {
    await records.update('a', add(1));
    await create().update('a', add(10));
    storage.on('metadata.get', { fail: 'away' });
    expect(await records.refresh('a', signal)).toEqual({ count: 1 });
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'metadata-get', subject: 'a' }]);
  });

  it('does not undo a change that comes while it is read', async () => {
    await records.update('a', add(1));
    const held = gate();
    storage.on('metadata.get', { gate: held, times: 1 });
    const reading = records.refresh('a', signal);
    const saving = records.update('a', add(1));
    held.open();
    expect(await reading).toEqual({ count: 2 });
    await saving;
    expect(await records.refresh('a', signal)).toEqual({ count: 2 });
  });

  it('is gone by refresh when it was removed', async () => {
    await records.update('a', add(1));
    await storage.metadata.delete('a', { signal });
    expect(await records.refresh('a', signal)).toBeUndefined();
    expect(records.held('a')).toBeUndefined();
  });
});

describe('a change made under a lease', () => {
  const lease = (token: number, isHeld = false) => ({ token, isHeld: () => isHeld });

  it('is written where tokens have gone back: under a lease that is held, on what stands there', async () => {
    await create().update('a', add(10), lease(1_000));
    expect(await records.refresh('a', signal)).toEqual({ count: 10 });
    for (const token of [1, 2]) await records.update('a', add(1), lease(token, true));
    expect(await stored('a')).toMatchObject({ count: 12 });
    expect(await records.get('a', signal)).toEqual({ count: 12 });
    expect(events).toEqual([]);
  });

  it('is written where tokens have gone back and the record is gone', async () => {
    await create().update('a', add(10), lease(1_000));
    await storage.metadata.delete('a', { signal });
    await records.update('a', add(1), lease(1, true));
    expect(await stored('a')).toMatchObject({ count: 1 });
    expect(events).toEqual([]);
  });

  it('replaces a record whose file was cut to nothing, as after a loss of power', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'records-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    storage = flakyStore(fileStorage(directory, { clock }));
    await create().update('a', add(1), lease(5));
    truncateSync(join(directory, 'metadata', keyPath('a')));
    records = create();
    await records.update('a', add(5), lease(6, true));
    expect(await stored('a')).toEqual({ format: 1, count: 5 });
    // From the next write on it has its fence again.
    await records.update('a', add(1), lease(7));
    expect(await storage.metadata.set('a', 'x', { fence: 6, signal })).toBe(false);
    expect(events).toMatchObject([{ operation: 'metadata-get', subject: 'a' }]);
  });

  it('leaves what was written meanwhile under a later one, also where it seems to be held', async () => {
    await create().update('a', add(10), lease(5));
    expect(await records.refresh('a', signal)).toEqual({ count: 10 });
    await create().update('a', add(10), lease(6));
    await records.update('a', add(100), lease(5, true));
    expect(await stored('a')).toMatchObject({ count: 20 });
    expect(await records.get('a', signal)).toEqual({ count: 20 });
  });

  it('is written with its token, also on top of another without one', async () => {
    await records.update('a', add(1), lease(7));
    await records.update('a', add(1));
    expect(await storage.metadata.set('a', 'x', { fence: 6, signal })).toBe(false);
  });

  it('leaves what was written under a later one, and memory has that too', async () => {
    await records.update('a', add(1), lease(5));
    await create().update('a', add(10), lease(6));
    await records.update('a', add(100), lease(5));
    expect(await stored('a')).toMatchObject({ count: 11 });
    expect(await records.get('a', signal)).toEqual({ count: 11 });
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'metadata-set', subject: 'a' }]);
  });

  it('goes without those that came beside it under none', async () => {
    await create().update('a', add(10), lease(6));
    const saving = [records.update('a', add(100), lease(5)), records.update('a', add(1))];
    await Promise.all(saving);
    expect(await stored('a')).toMatchObject({ count: 11 });
    expect(await records.get('a', signal)).toEqual({ count: 11 });
  });
});

describe('a record that is removed', () => {
  const versionOf = async (key: string) => (await storage.metadata.get(key, { signal }))?.version ?? '';

  it('is gone from the store and from memory', async () => {
    await records.update('a', add(1));
    expect(await records.remove('a', await versionOf('a'), signal)).toBe(true);
    expect(await stored('a')).toBeUndefined();
    expect(records.held('a')).toBeUndefined();
    await records.update('a', add(1));
    expect(await stored('a')).toMatchObject({ count: 1 });
  });

  it('stays where it was changed since it was looked at, also when the change is still on its way', async () => {
    await records.update('a', add(1));
    const version = await versionOf('a');
    const saved = records.update('a', add(1));
    expect(await records.remove('a', version, signal)).toBe(false);
    await saved;
    expect(await records.remove('a', version, signal)).toBe(false);
    expect(await stored('a')).toMatchObject({ count: 2 });
  });

  it('does not come back into memory by a read that began before', async () => {
    await create().update('a', add(1));
    const version = await versionOf('a');
    const held = gate();
    const { get } = storage.metadata;
    storage.metadata.get = async (key, options) => {
      const entry = await get(key, options);
      await held.pass();
      return entry;
    };
    const reading = records.get('a', signal);
    expect(await records.remove('a', version, signal)).toBe(true);
    held.open();
    await reading;
    expect(records.held('a')).toBeUndefined();
  });
});
