import { setImmediate } from 'node:timers/promises';
import { flakyStore, gate, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import type { StoreEvent } from '../store/events.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { createLinks, type Links } from './links.ts';
import type { Place } from './place.ts';

const { signal } = new AbortController();
const place: Place = { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g1' };
const digest = digestOf(Buffer.from('content'));
const blob = { digest, mediaType: 'application/octet-stream', size: 7 };
let clock: ManualClock;
let storage: ReturnType<typeof flakyStore>;
let events: StoreEvent[];
let validForMs: number;
let links: Links;

beforeEach(() => {
  clock = manualClock();
  storage = flakyStore(memoryStorage({ clock }));
  events = [];
  validForMs = Number.POSITIVE_INFINITY;
  links = create();
});

function create(): Links {
  const { metadata } = storage;
  return createLinks({ metadata, observe: (event) => events.push(event), clock, validForMs: () => validForMs }, 100);
}

const turn = async () => {
  await setImmediate();
  return 'not yet';
};

describe('19: a link', () => {
  it('is of one upstream, scope, repository, kind and digest, and of no other', async () => {
    await links.prove(place, 'blob', blob);
    for (const known of [links, create()]) {
      expect(await known.find(place, 'blob', digest, signal)).toEqual({
        mediaType: blob.mediaType,
        size: 7,
        provenAt: clock.now(),
        generation: 'g1',
      });
      expect(await known.find({ ...place, upstream: 'other' }, 'blob', digest, signal)).toBeUndefined();
      expect(await known.find({ ...place, scope: 'alice' }, 'blob', digest, signal)).toBeUndefined();
      expect(await known.find({ ...place, repository: 'team' }, 'blob', digest, signal)).toBeUndefined();
      expect(await known.find({ ...place, repository: 'team/app/x' }, 'blob', digest, signal)).toBeUndefined();
      expect(await known.find(place, 'manifest', digest, signal)).toBeUndefined();
      expect(await known.find(place, 'blob', digestOf(Buffer.from('x')), signal)).toBeUndefined();
    }
  });

  it('is void once the URL or credential of its upstream is another one', async () => {
    await links.prove(place, 'blob', blob);
    const changed = { ...place, generation: 'g2' };
    expect(await links.find(changed, 'blob', digest, signal)).toBeUndefined();
    expect(await create().find(changed, 'blob', digest, signal)).toBeUndefined();
    await links.prove(changed, 'blob', blob);
    expect(await links.find(changed, 'blob', digest, signal)).toMatchObject({ generation: 'g2' });
    expect(await links.find(place, 'blob', digest, signal)).toBeUndefined();
  });

  it('holds for linkValidFor, and a proof renews it', async () => {
    validForMs = 1_000;
    await links.prove(place, 'blob', blob);
    await clock.advance(1_000);
    expect(await links.find(place, 'blob', digest, signal)).toBeDefined();
    await clock.advance(1);
    expect(await links.find(place, 'blob', digest, signal)).toBeUndefined();
    await links.prove(place, 'blob', { ...blob, size: undefined });
    expect(await links.find(place, 'blob', digest, signal)).toEqual({
      mediaType: blob.mediaType,
      provenAt: clock.now(),
      generation: 'g1',
    });
  });

  it('proven in what is now the future is not within linkValidFor: a clock that stepped back extends none', async () => {
    validForMs = 1_000;
    await links.prove(place, 'blob', blob);
    clock.set(clock.now() - 1);
    expect(await links.find(place, 'blob', digest, signal)).toBeUndefined();
    await links.prove(place, 'blob', blob);
    expect(await links.find(place, 'blob', digest, signal)).toBeDefined();
  });

  it('without a linkValidFor holds whatever the clock does', async () => {
    await links.prove(place, 'blob', blob);
    clock.set(clock.now() - 3_600_000);
    expect(await links.find(place, 'blob', digest, signal)).toBeDefined();
  });

  it('whose type a HEAD told is as old as before once that type was found right', async () => {
    const manifest = { digest, mediaType: 'application/vnd.oci.image.index.v1+json' };
    await links.prove(place, 'manifest', { ...manifest, typeUnchecked: true });
    const provenAt = clock.now();
    await clock.advance(10);
    await links.typeChecked(place, { ...manifest, mediaType: 'application/json' });
    expect(await links.find(place, 'manifest', digest, signal)).toMatchObject({ typeUnchecked: true });
    await links.typeChecked(place, manifest);
    for (const known of [links, create()]) {
      const { mediaType } = manifest;
      expect(await known.find(place, 'manifest', digest, signal)).toEqual({ mediaType, provenAt, generation: 'g1' });
    }
  });

  it('that cannot be read is none', async () => {
    await links.prove(place, 'blob', blob);
    storage.on('metadata.get', { fail: 'away' });
    expect(await create().find(place, 'blob', digest, signal)).toBeUndefined();
    expect(events).toEqual([expect.objectContaining({ operation: 'metadata-get', error: 'away' })]);
  });

  it('that cannot be written holds while the process lives', async () => {
    storage.on('metadata.set', { fail: 'away' });
    await links.prove(place, 'blob', blob);
    expect(await links.find(place, 'blob', digest, signal)).toBeDefined();
    expect(await create().find(place, 'blob', digest, signal)).toBeUndefined();
  });

  it('that could not be written is written by itself once the store is back', async () => {
    storage.on('metadata.set', { fail: 'away' });
    await links.prove(place, 'blob', blob);
    storage.heal();
    await clock.advance(1_000);
    expect(await create().find(place, 'blob', digest, signal)).toMatchObject({ size: 7 });
  });

  it('is told to nobody before the store has it', async () => {
    const held = gate();
    storage.on('metadata.set', { gate: held });
    const lookUp = links.lookup(place, 'blob', digest);
    const proving = links.prove(place, 'blob', blob);
    const found = links.find(place, 'blob', digest, signal);
    const leaving = new AbortController();
    const left = links.find(place, 'blob', digest, leaving.signal);
    await held.reached;
    expect(lookUp()).toBeUndefined();
    leaving.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    expect(await Promise.race([found, turn()])).toBe('not yet');
    held.open();
    await proving;
    expect(await found).toBeDefined();
    expect(lookUp()).toBeDefined();
  });

  it('that holds and is proven again is not waited for; one that has expired is', async () => {
    validForMs = 1_000;
    await links.prove(place, 'blob', blob);
    const [renewal, anew] = [gate(), gate()];
    storage.on('metadata.set', { gate: renewal, times: 1 });
    await clock.advance(600);
    const renewing = links.prove(place, 'blob', blob);
    expect(links.lookup(place, 'blob', digest)()).toMatchObject({ provenAt: clock.now() });
    expect(await links.find(place, 'blob', digest, signal)).toMatchObject({ provenAt: clock.now() });
    renewal.open();
    await renewing;
    await clock.advance(1_001);
    storage.on('metadata.set', { gate: anew });
    const proving = links.prove(place, 'blob', blob);
    const found = links.find(place, 'blob', digest, signal);
    expect(await Promise.race([found, turn()])).toBe('not yet');
    anew.open();
    await proving;
    expect(await found).toMatchObject({ provenAt: clock.now() });
  });
});
