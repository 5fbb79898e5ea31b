import { setImmediate } from 'node:timers/promises';
import { flakyStore, gate, manualClock } from '@proxycache/test-kit';
import { beforeEach, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import type { Place } from './place.ts';
import { createReferrersRecords } from './referrer-records.ts';
import { createTagRecords, type TagRecord, type TagRecords } from './tag-records.ts';

const { signal } = new AbortController();
const place: Place = { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g1' };
const value = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestOf(Buffer.from('a')), size: 1 };
const refusal = { at: 0, code: 'MANIFEST_UNKNOWN', message: '' };
let storage: ReturnType<typeof flakyStore>;

beforeEach(() => {
  storage = flakyStore(memoryStorage({ clock: manualClock() }));
});

const parts = () => ({ metadata: storage.metadata, observe: () => undefined, clock: manualClock() });
async function listed(tags: TagRecords, after?: string): Promise<string[]> {
  const names: string[] = [];
  for await (const tag of tags.list(place, { after, signal })) names.push(tag);
  return names;
}
const create = (most = 100): TagRecords => createTagRecords(parts(), most);

it('keeps the record of each tag of each repository apart, over a restart', async () => {
  const tags = create();
  await tags.update({ place, tag: '1' }, () => ({ stored: true, value }));
  await tags.update({ place: { ...place, repository: 'team' }, tag: '1' }, () => ({ stored: false, value }));
  for (const known of [tags, create()]) {
    expect(await known.get(place, '1', signal)).toEqual({ stored: true, value });
    expect(await known.get({ ...place, repository: 'team' }, '1', signal)).toEqual({ stored: false, value });
    expect(await known.get({ ...place, scope: 'alice' }, '1', signal)).toBeUndefined();
    expect(await known.get(place, '2', signal)).toBeUndefined();
  }
  await tags.settled();
});

it('lists the tags that there are records of, in order, however many', async () => {
  const tags = create();
  const names = Array.from({ length: 1_203 }, (_, i) => `v${String(i).padStart(4, '0')}`);
  await Promise.all(names.map((tag) => tags.update({ place, tag }, () => ({ stored: true, value }))));
  await tags.update({ place, tag: 'v0500' }, () => ({ stored: true, value, absent: refusal }));
  await tags.update({ place, tag: 'known' }, () => ({ stored: false, value }));
  await tags.update({ place: { ...place, repository: 'team/app/more' }, tag: 'other' }, () => ({
    stored: true,
    value,
  }));
  const expected = ['known', ...names];
  expect(await listed(tags)).toEqual(expected);
  expect(await listed(create(10))).toEqual(expected);
  expect(storage.calls('metadata.list')).toBe(6);
});

it('lists the tags after any text, a tag or not, from there on', async () => {
  const tags = create();
  const names = ['-', '.a', '0', 'A', 'Z', '_', 'a', 'a-b', 'a.b', 'z'].sort();
  await Promise.all(names.map((tag) => tags.update({ place, tag }, () => ({ stored: true, value }))));
  for (const after of [...names, '', '%', '/', 'a/b', 'ä', 'b', '~', 'a'.repeat(300)]) {
    expect(await listed(create(), after)).toEqual(names.filter((tag) => tag > after));
  }
});

it('asks the store for no more than the page that is taken', async () => {
  const tags = create();
  const names = Array.from({ length: 1_203 }, (_, i) => `v${String(i).padStart(4, '0')}`);
  await Promise.all(names.map((tag) => tags.update({ place, tag }, () => ({ stored: true, value }))));
  const before = storage.calls('metadata.list');
  for await (const tag of create().list(place, { after: 'v0700', signal })) {
    expect(tag).toBe('v0701');
    break;
  }
  expect(storage.calls('metadata.list')).toBe(before + 1);
});

it('fails to list where the store does: "none" would be a lie', async () => {
  storage.on('metadata.list', { fail: 'away' });
  await expect(listed(create())).rejects.toThrow('away');
});

it('keeps the referrers of each subject apart', async () => {
  const referrers = createReferrersRecords(parts(), { most: 10, maxBytes: 10_000 });
  await referrers.update(place, value.digest, () => ({ stored: true, value: { manifests: [{ a: 1 }] } }));
  const again = createReferrersRecords(parts(), { most: 10, maxBytes: 10_000 });
  expect(await again.get(place, value.digest, signal)).toMatchObject({ value: { manifests: [{ a: 1 }] } });
  expect(await again.get(place, digestOf(Buffer.from('b')), signal)).toBeUndefined();
  await referrers.settled();
});

it('tells nobody of news before the store has them, and of what is still right at once', async () => {
  const tags = create();
  const other = { ...value, digest: digestOf(Buffer.from('b')) };
  const record = { stored: true, value, validatedAt: 1, saidTo: 'g1' };
  await tags.update({ place, tag: '1' }, () => record);
  const lookUp = tags.lookup(place, '1');
  const states: [TagRecord, boolean][] = [
    [{ ...record, validatedAt: 2 }, false],
    [{ ...record, absent: refusal }, true],
    [{ ...record, absent: { ...refusal, at: 3 } }, false],
    // Pushed again, unchanged.
    [{ ...record, validatedAt: 4 }, true],
    [{ ...record, value: other, validatedAt: 5 }, true],
    [{ ...record, value: other, validatedAt: 5, saidTo: 'g2' }, true],
  ];
  for (const [next, isNews] of states) {
    const held = gate();
    storage.on('metadata.set', { gate: held, times: 1 });
    const saving = tags.update({ place, tag: '1' }, () => next);
    expect(lookUp()).toEqual(isNews ? undefined : next);
    const got = tags.get(place, '1', signal);
    if (isNews) expect(await Promise.race([got, setImmediate('not yet')])).toBe('not yet');
    else expect(await got).toEqual(next);
    held.open();
    await saving;
    expect(await got).toEqual(next);
    expect(lookUp()).toEqual(next);
  }
});

it('tells who waited for news what the store has, where it refused them', async () => {
  const tags = create();
  const other = { ...value, digest: digestOf(Buffer.from('b')) };
  await tags.update({ place, tag: '1', fence: { token: 5, isHeld: () => true } }, () => ({ stored: true, value }));
  const later = create();
  await later.get(place, '1', signal);
  await later.update({ place, tag: '1', fence: { token: 7, isHeld: () => true } }, () => ({
    stored: true,
    value,
    validatedAt: 7,
  }));
  const held = gate();
  storage.on('metadata.set', { gate: held, times: 1 });
  const saving = tags.update({ place, tag: '1', fence: { token: 6, isHeld: () => false } }, () => ({
    stored: true,
    value: other,
  }));
  await held.reached;
  const got = tags.get(place, '1', signal);
  held.open();
  await saving;
  expect(await got).toEqual({ stored: true, value, validatedAt: 7 });
});
