import { type FlakyStorage, flakyStore } from '@proxycache/test-kit';
import { beforeEach, expect, it } from 'vitest';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { StoreEvent } from '../store/events.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { encodeRecord } from './record-codec.ts';
import { scrubRecords } from './scrub-records.ts';

const { signal } = new AbortController();
const keys = ['tag/hub/-/a/1', 'tag/hub/-/a/2', 'link/hub/-/a/blob.sha256', 'referrers/hub/-/a/x', 'repository/hub/a'];
let storage: FlakyStorage;
let events: StoreEvent[];
let report: { checked: number; damaged: number };

beforeEach(async () => {
  storage = flakyStore(memoryStorage());
  events = [];
  report = { checked: 0, damaged: 0 };
  for (const key of keys) await set(key, encodeRecord({ key }));
});

const set = (key: string, text: string) => storage.metadata.set(key, text, { signal });
const value = async (key: string) => (await storage.metadata.get(key, { signal }))?.value;
const scrub = (ofSignal = signal, progress: () => void = () => undefined) =>
  scrubRecords({ metadata: storage.metadata, observe: (event) => events.push(event), progress }, report, ofSignal);

it('reads every record and removes none that is right', async () => {
  await scrub();
  expect(report).toEqual({ checked: 5, damaged: 0 });
  for (const key of keys) expect(await value(key)).toBe(encodeRecord({ key }));
  expect(events).toEqual([]);
});

it.each(['', 'not json', '[]', '{}', 'null', '{"format":"1"}'])('removes a record that says %j', async (text) => {
  await set(keys[1]!, text);
  await scrub();
  expect(report).toEqual({ checked: 5, damaged: 1 });
  expect(await value(keys[1]!)).toBeUndefined();
  expect(await value(keys[0]!)).toBeDefined();
});

it('removes one that the store itself cannot read', async () => {
  const { get } = storage.metadata;
  storage.metadata.get = async (key, options) => {
    if (key === keys[2]) throw new ProxyCacheError('storage-damaged', 'torn');
    return await get(key, options);
  };
  await scrub();
  expect(report).toEqual({ checked: 5, damaged: 1 });
  storage.metadata.get = get;
  expect(await value(keys[2]!)).toBeUndefined();
});

it('leaves one that the store itself could not read, and that was written anew before it goes', async () => {
  const { get } = storage.metadata;
  let torn = true;
  storage.metadata.get = async (key, options) => {
    if (key !== keys[2] || !torn) return await get(key, options);
    torn = false;
    await set(key, encodeRecord({ key }));
    throw new ProxyCacheError('storage-damaged', 'torn');
  };
  await scrub();
  expect(report).toEqual({ checked: 5, damaged: 0 });
  expect(await value(keys[2]!)).toBeDefined();
});

it('leaves a damaged one that was written anew meanwhile', async () => {
  await set(keys[0]!, 'torn');
  const { delete: remove } = storage.metadata;
  storage.metadata.delete = async (key, options) => {
    await set(key, encodeRecord({ key }));
    return await remove(key, options);
  };
  await scrub();
  expect(await value(keys[0]!)).toBe(encodeRecord({ key: keys[0] }));
});

it('leaves records of a later release, and what is none of ours', async () => {
  await set(keys[0]!, '{"format":2}');
  await set('of-somebody-else/1', 'not json');
  await scrub();
  expect(report).toEqual({ checked: 5, damaged: 0 });
  expect([await value(keys[0]!), await value('of-somebody-else/1')]).toEqual(['{"format":2}', 'not json']);
});

it('goes on after a failure, and gives up after three in a row with nothing removed', async () => {
  storage.on('metadata.get', { fail: 'away', times: 2 });
  await scrub();
  expect(report).toEqual({ checked: 3, damaged: 0 });
  expect(events).toMatchObject([{ operation: 'scrub' }, { operation: 'scrub' }]);
  storage.on('metadata.get', { fail: 'away' });
  await expect(scrub()).rejects.toMatchObject({ code: 'storage-failed' });
  expect(storage.calls('metadata.delete')).toBe(0);
});

it('is ended by a store that does not list, and by its caller', async () => {
  storage.on('metadata.list', { fail: 'away', times: 1 });
  await expect(scrub()).rejects.toThrow('away');
  const caller = new AbortController();
  await expect(scrub(caller.signal, () => caller.abort(new Error('enough')))).rejects.toThrow('enough');
  expect(report.checked).toBe(1);
});
