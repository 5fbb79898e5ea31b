import { type FlakyStorage, flakyStore, gate, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { StoreEvent } from '../store/events.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { createUnsavedUses } from './unsaved-uses.ts';
import { createUsage, type Usage } from './usage.ts';
import type { Use, Used } from './use.ts';

const { signal } = new AbortController();
const minute = 60_000;
/** When the store is told. */
const soon = 45_000;
const place = { upstream: 'hub', scope: '-', repository: 'team/app' };
const tag: Used = { place, kind: 'tag', tagOrDigest: '1' };
const blob: Used = { place, kind: 'blob', tagOrDigest: `sha256:${'a1'.repeat(32)}` };
const tagKey = 'use/hub/-/team%2Fapp/tag.1';
const blobKey = `use/hub/-/team%2Fapp/blob.sha256%3A${'a1'.repeat(32)}`;

let clock: ManualClock;
let storage: FlakyStorage;
let events: StoreEvent[];
let usage: Usage;

beforeEach(() => {
  clock = manualClock();
  storage = flakyStore(memoryStorage({ clock }));
  events = [];
  usage = create();
});

/** Usage as another process, or this one after a restart, has it. */
function create(): Usage {
  return createUsage({ metadata: storage.metadata, observe: (event) => events.push(event), clock });
}

const note = (used: Used, by = usage) => by.note(by.of(used), clock.now());
const writes = () => storage.calls('metadata.set');
const last = async (used: Used, of = usage) => (await of.lastUsed([used], signal))[0];
async function stored(key: string): Promise<number | undefined> {
  const entry = await storage.metadata.get(key, { signal });
  return entry && JSON.parse(entry.value).at;
}

describe('a use', () => {
  it('is known at once and in the store within a minute, each thing under a key of its own', async () => {
    const at = clock.now();
    note(tag);
    note(blob);
    expect([usage.held(tag), await last(blob)]).toEqual([at, at]);
    expect(writes()).toBe(0);
    await clock.advance(soon);
    expect([await stored(tagKey), await stored(blobKey)]).toEqual([at, at]);
    expect(await create().lastUsed([blob, tag], signal)).toEqual([at, at]);
  });

  it('of what was never used is not known', async () => {
    usage.of(tag);
    expect([usage.held(tag), await last(tag), usage.held(blob)]).toEqual([undefined, undefined, undefined]);
  });

  it('of the same repository at another upstream, or seen with another credential, is another', async () => {
    note(tag);
    for (const other of [{ upstream: 'quay' }, { scope: 'x' }, { repository: 'team' }]) {
      expect(await last({ ...tag, place: { ...place, ...other } })).toBeUndefined();
    }
    expect(await last({ ...tag, kind: 'manifest' })).toBeUndefined();
  });

  it('does not step back with the clock', async () => {
    const at = clock.now();
    note(tag);
    clock.set(at - minute);
    note(tag);
    expect(await last(tag)).toBe(at);
  });

  it('is in the store when the cache has ended, with nothing left to do', async () => {
    note(tag);
    await usage.settled();
    expect(await stored(tagKey)).toBe(clock.now());
    expect(clock.pending()).toBe(0);
  });
});

describe('what the store is asked to write', () => {
  it('does not grow with uses, only with things', async () => {
    const use = usage.of(tag);
    for (let i = 0; i < 1_000; i++) usage.note(use, clock.now());
    await clock.advance(soon);
    expect(writes()).toBe(1);
  });

  it('of a thing that is used all the time is once in some minutes, and no use is lost by that', async () => {
    for (let second = 0; second < 3_600; second++) {
      note(tag);
      if (second % 60 === 59) expect((await last(tag, create())) ?? 0).toBeGreaterThanOrEqual(clock.now() - minute);
      await clock.advance(1_000);
    }
    expect(writes()).toBeLessThan(14);
  });

  it('that is ahead is no use that this process takes for one', async () => {
    note(tag);
    await clock.advance(minute);
    note(tag);
    const at = clock.now();
    await clock.advance(minute);
    expect(await stored(tagKey)).toBeGreaterThan(at);
    expect(await last(tag)).toBe(at);
  });

  it('is exact for a thing that is used now and then', async () => {
    for (let day = 0; day < 3; day++) {
      note(tag);
      const at = clock.now();
      await clock.advance(24 * 60 * minute);
      expect(await stored(tagKey)).toBe(at);
    }
    expect(writes()).toBe(3);
  });
});

describe('of several processes', () => {
  it('the later use holds, whichever is written last', async () => {
    const other = create();
    note(tag, other);
    await clock.advance(1_000);
    const at = clock.now();
    note(tag);
    await usage.settled();
    await other.settled();
    expect(await stored(tagKey)).toBe(at);
    expect(await last(tag, other)).toBe(at);
  });

  it('one that writes meanwhile is not overwritten', async () => {
    const other = create();
    note(tag);
    const held = gate();
    storage.on('metadata.set', { gate: held, times: 1 });
    const saving = usage.settled();
    await held.reached;
    await clock.advance(1_000);
    note(tag, other);
    await other.settled();
    held.open();
    await saving;
    expect(await stored(tagKey)).toBe(clock.now());
  });
});

describe('a store that is away', () => {
  it('is tried again, and told of once each time', async () => {
    storage.on('metadata.getMany', { fail: 'away' });
    const at = clock.now();
    note(tag);
    note(blob);
    await clock.advance(soon);
    expect(events).toMatchObject([{ type: 'store-failed', operation: 'metadata-set', subject: tagKey }]);
    storage.heal();
    expect(await last(tag)).toBe(at);
    await clock.advance(1_000);
    expect([await stored(tagKey), await stored(blobKey), events.length]).toEqual([at, at, 1]);
  });

  it('costs no use that was noted meanwhile', async () => {
    storage.on('metadata.set', { fail: 'away' });
    note(tag);
    await clock.advance(minute);
    note(tag);
    const at = clock.now();
    note(blob);
    storage.heal();
    await clock.advance(minute);
    expect([await stored(tagKey), await stored(blobKey)]).toEqual([at, at]);
  });

  it('is not waited for at the end', async () => {
    storage.on('metadata.getMany', { fail: 'away' });
    note(tag);
    await usage.settled();
    expect([events.length, clock.pending()]).toEqual([1, 0]);
  });

  it('does not fill the memory: the oldest are given up, and that is told', async () => {
    const written: string[] = [];
    const unsaved = createUnsavedUses({
      records: { save: async (uses) => void written.push(...uses.map(({ key }) => key)) },
      most: 2,
      clock,
      observe: (event) => events.push(event),
    });
    const uses = ['1', '2', '3', '4'].map(
      (tagOrDigest): Use => ({ used: { ...tag, tagOrDigest }, at: 1, savedAt: 0, wroteAt: 0, waits: false }),
    );
    for (const use of uses) unsaved.add(use);
    expect(events).toMatchObject([
      { type: 'store-failed', subject: tagKey, error: expect.stringContaining('given up') },
    ]);
    expect(uses.map(({ waits }) => waits)).toEqual([false, false, true, true]);
    await unsaved.settled();
    expect(written.map((key) => key.at(-1))).toEqual(['3', '4']);
  });
});

describe('a record', () => {
  it('that cannot be decoded is replaced, and keeps no other from being written', async () => {
    await storage.metadata.set(tagKey, 'nonsense', { signal });
    note(tag);
    note(blob);
    await usage.settled();
    expect([await stored(tagKey), await stored(blobKey)]).toEqual([clock.now(), clock.now()]);
  });

  it('of a later release stays, and what it is about counts as used', async () => {
    const text = JSON.stringify({ format: 2 });
    await storage.metadata.set(tagKey, text, { signal });
    note(tag);
    await usage.settled();
    expect((await storage.metadata.get(tagKey, { signal }))?.value).toBe(text);
    expect(await last(tag, create())).toBe(Number.POSITIVE_INFINITY);
    expect(await create().forget(tag, { unlessUsedAfter: clock.now(), signal })).toBe(false);
  });
});

describe('forgetting', () => {
  it('removes the record, unless it was used after that instant, here or elsewhere', async () => {
    note(tag);
    await usage.settled();
    const planned = clock.now();
    await clock.advance(1_000);
    const other = create();
    note(tag, other);
    expect(await other.forget(tag, { unlessUsedAfter: planned, signal })).toBe(false);
    await other.settled();
    expect(await usage.forget(tag, { unlessUsedAfter: planned, signal })).toBe(false);
    expect(await usage.forget(tag, { unlessUsedAfter: clock.now(), signal })).toBe(true);
    expect([await stored(tagKey), await last(tag)]).toEqual([undefined, undefined]);
  });

  it('takes what this process wrote ahead for no use, and what is used again is written again', async () => {
    for (let i = 0; i < 3; i++) {
      note(tag);
      await clock.advance(minute);
    }
    expect(await stored(tagKey)).toBeGreaterThan(clock.now());
    expect(await usage.forget(tag, { unlessUsedAfter: clock.now(), signal })).toBe(true);
    note(tag);
    await usage.settled();
    expect(await stored(tagKey)).toBe(clock.now());
  });

  it('of what there is no record of is done', async () => {
    expect(await usage.forget(tag, { unlessUsedAfter: clock.now(), signal })).toBe(true);
  });
});

it('since when uses are noted is the first time that somebody asked, for all processes', async () => {
  const first = clock.now();
  expect(await usage.since(signal)).toBe(first);
  await clock.advance(minute);
  expect([await create().since(signal), await usage.since(signal)]).toEqual([first, first]);
});
