import { flakyStore, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Place } from '../catalog/place.ts';
import { digestOf } from '../oci/digest.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { createFirstSeen } from './first-seen.ts';
import { createParents, namedAt } from './parents.ts';

const { signal } = new AbortController();
const day = 86_400_000;
const place: Place = { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g1' };
const digest = (text: string) => digestOf(Buffer.from(text));
const named = (...names: string[]) => ({
  children: [],
  blobs: names.map((name) => ({ mediaType: '', size: 1, digest: digest(name), foreign: false })),
});

let clock: ManualClock;
let storage: ReturnType<typeof flakyStore>;
beforeEach(() => {
  clock = manualClock();
  storage = flakyStore(memoryStorage({ clock }));
});
const parts = () => ({ metadata: storage.metadata, clock, observe: () => undefined });

describe('what was first seen', () => {
  it('keeps its instant, which the first of several processes writes down', async () => {
    const at = clock.now();
    const [one, other] = [createFirstSeen(parts()), createFirstSeen(parts())];
    expect(await Promise.all([one, other].map((seen) => seen.of(place, digest('a'), signal)))).toEqual([at, at]);
    await clock.advance(day);
    for (const seen of [one, other, createFirstSeen(parts())]) {
      expect(await seen.of(place, digest('a'), signal)).toBe(at);
      expect(await seen.of({ ...place, repository: 'other' }, digest('a'), signal)).toBe(clock.now());
    }
  });

  it('is forgotten a year after it was last looked for, and not while it is', async () => {
    const at = clock.now();
    await createFirstSeen(parts()).of(place, digest('a'), signal);
    for (let looks = 0; looks < 4; looks++) {
      await clock.advance(200 * day);
      expect(await createFirstSeen(parts()).of(place, digest('a'), signal)).toBe(at);
    }
    await clock.advance(365 * day);
    expect(await createFirstSeen(parts()).of(place, digest('a'), signal)).toBe(clock.now());
  });

  it('is now where the clock was ahead once, in memory and after a restart, and stays so', async () => {
    const right = clock.now();
    const seen = createFirstSeen(parts());
    clock.set(right + 3_650 * day);
    expect(await seen.of(place, digest('a'), signal)).toBe(clock.now());
    clock.set(right);
    expect(await seen.of(place, digest('a'), signal)).toBe(right);
    await clock.advance(day);
    for (const one of [seen, createFirstSeen(parts())]) expect(await one.of(place, digest('a'), signal)).toBe(right);
  });

  it('is no older for a clock that was behind once', async () => {
    const right = clock.now();
    await createFirstSeen(parts()).of(place, digest('a'), signal);
    const seen = createFirstSeen(parts());
    for (const at of [day, 0]) {
      clock.set(at);
      expect(await seen.of(place, digest('a'), signal)).toBe(at);
    }
    clock.set(right + day);
    for (const one of [seen, createFirstSeen(parts())]) expect(await one.of(place, digest('a'), signal)).toBe(right);
  });

  it('is written anew where a clock that was ahead has written it last', async () => {
    const right = clock.now();
    await createFirstSeen(parts()).of(place, digest('a'), signal);
    clock.set(right + 300 * day);
    await createFirstSeen(parts()).of(place, digest('a'), signal);
    clock.set(right + day);
    const writes = storage.calls('metadata.set');
    for (let looks = 0; looks < 2; looks++) {
      expect(await createFirstSeen(parts()).of(place, digest('a'), signal)).toBe(right);
    }
    expect(storage.calls('metadata.set')).toBe(writes + 1);
  });

  it('is not guessed where the store fails, and is young where its record is damaged', async () => {
    const key = `seen/up/-/team%2Fapp/${digest('a').replace(':', '%3A')}`;
    await storage.metadata.set(key, 'torn', { signal });
    storage.on('metadata.get', { fail: 'away' });
    await expect(createFirstSeen(parts()).of(place, digest('a'), signal)).rejects.toThrow('away');
    storage.heal();
    expect(await createFirstSeen(parts()).of(place, digest('a'), signal)).toBe(clock.now());
  });
});

describe('the manifests that name a blob', () => {
  const note = (parents: ReturnType<typeof createParents>, text: string, isAdmitted = true) =>
    parents.note(place, { digest: digest(text), manifest: named('layer'), byTag: false, isAdmitted });
  const of = async (parents = createParents(parts())) => (await parents.of(place, digest('layer'), signal))?.manifests;

  it('are noted once, the newest of those that were admitted first', async () => {
    const parents = createParents(parts());
    for (const text of ['a', 'b', 'a']) await note(parents, text);
    await note(parents, 'bad', false);
    const expected = ['b', 'a', 'bad'].map(digest);
    for (const known of [parents, createParents(parts())]) expect(await of(known)).toEqual(expected);
    const writes = storage.calls('metadata.set');
    await note(parents, 'a');
    expect(storage.calls('metadata.set')).toBe(writes);
  });

  it('named it no later, and no earlier, for a clock that was wrong once', async () => {
    const right = clock.now();
    const look = async () => {
      await note(createParents(parts()), 'a');
      return namedAt(await createParents(parts()).of(place, digest('layer'), signal), clock.now());
    };
    clock.set(right + 3_650 * day);
    await look();
    clock.set(right);
    expect(namedAt(await createParents(parts()).of(place, digest('layer'), signal), clock.now())).toBe(right);
    expect(await look()).toBe(right);
    clock.set(0);
    expect(await look()).toBe(0);
    clock.set(right + day);
    expect(await look()).toBe(right);
  });

  it('are 64 at most, and one that was not admitted takes the place of none that was', async () => {
    const parents = createParents(parts());
    for (let n = 0; n < 70; n++) await note(parents, `good ${n}`);
    await note(parents, 'bad', false);
    const known = await of(parents);
    expect(known).toHaveLength(64);
    expect([known?.[0], known?.includes(digest('bad')), known?.includes(digest('good 0'))]).toEqual([
      digest('good 69'),
      false,
      false,
    ]);
  });

  it('are noted by several processes, each of which keeps what the others wrote', async () => {
    const [one, other] = [createParents(parts()), createParents(parts())];
    await note(one, 'a');
    await note(other, 'b');
    await note(one, 'c');
    expect(new Set(await of())).toEqual(new Set(['a', 'b', 'c'].map(digest)));
  });

  it('are written anew after an hour, as the record may have been removed that memory still has', async () => {
    const parents = createParents(parts());
    await note(parents, 'a');
    const [key] = await storage.metadata.list('parents/', { limit: 9, signal });
    await storage.metadata.delete(key!, { signal });
    await clock.advance(3_600_000);
    await note(parents, 'a');
    expect(await of()).toEqual([digest('a')]);
  });
});
