import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FlakyStorage, flakyStore, gate, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createLinks } from '../catalog/links.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import type { Coordinator } from '../store/coordinator.ts';
import type { StoreEvent } from '../store/events.ts';
import { createKeptBlobs } from '../store/kept-blobs.ts';
import { localCoordinator } from '../store/local-coordinator.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import { shareBlobs } from '../store/shared-blobs.ts';
import type { QuotaEvent } from './events.ts';
import type { Evict } from './evict.ts';
import { createQuota, type Limits, type Quota } from './quota.ts';

const { signal } = new AbortController();
const bytesOf = (name: string, size: number) => Buffer.alloc(size, name);
const of = (name: string, size: number): Digest => digestOf(bytesOf(name, size));
const place = (upstream: string) => ({ upstream, scope: '-', repository: 'a', generation: 'g' });

let clock: ManualClock;
let storage: FlakyStorage;
let events: (QuotaEvent | StoreEvent)[];
let evictions: { bytes: number; upstream?: string }[];
/** What goes, in this order. */
let oldest: Digest[];
let evict: Evict;
let directory: string;

beforeEach(() => {
  clock = manualClock();
  storage = flakyStore(memoryStorage({ clock }));
  events = [];
  evictions = [];
  oldest = [];
  directory = mkdtempSync(join(tmpdir(), 'quota-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
});

function create(limits: Partial<Limits>, { coordinator }: { coordinator?: Coordinator } = {}): Quota {
  const observe = (event: QuotaEvent | StoreEvent) => void events.push(event);
  const quota = createQuota(
    { maxBytes: undefined, lowWater: 0.9, upstreams: new Map(), ...limits },
    {
      blobs: shareBlobs(storage.blobs, {
        kept: createKeptBlobs(storage.blobs, { maxBytes: 0, clock, observe }),
        clock,
        observe,
      }),
      metadata: storage.metadata,
      evict: (wanted) => evict(wanted),
      freesDisk: false,
      coordinator,
      clock,
      observe,
    },
  );
  evict = async ({ bytes, upstream }) => {
    evictions.push({ bytes, ...(upstream !== undefined && { upstream }) });
    let freed = 0;
    for (let digest = oldest.shift(); digest; digest = freed < bytes ? oldest.shift() : undefined) {
      const opened = await storage.blobs.open(digest, { signal });
      await opened?.close();
      if (await quota.blobs.delete(digest, { signal })) freed += opened?.size ?? 0;
    }
    return freed;
  };
  return quota;
}

/** A cache with a limit that has been counted, and what is stored in it. */
async function counted(limits: Partial<Limits>, sizes: readonly number[] = []): Promise<Quota> {
  for (const [index, size] of sizes.entries()) await fill(`${index}`, size);
  const quota = create(limits);
  await quota.recount();
  return quota;
}

async function fill(name: string, size: number): Promise<void> {
  await storage.blobs.put({ digest: of(name, size), bytes: bytesOf(name, size), signal });
  oldest.push(of(name, size));
}

async function adopt(quota: Quota, name: string, size: number): Promise<void> {
  const file = join(directory, name);
  writeFileSync(file, bytesOf(name, size));
  await quota.blobs.adopt({ file, digest: of(name, size), size, signal });
}

const roomOf = (quota: Quota, upstream = 'hub', isSpare = false) => quota.room({ upstream, isSpare })!;
const refused = (work: Promise<unknown>) =>
  work.then(
    () => false,
    (error) => isProxyCacheError(error) && error.code === 'quota-exceeded',
  );
const told = () => events.filter((event): event is QuotaEvent => event.type === 'quota-exceeded');

describe('what fits', () => {
  it('is claimed at once, and what is claimed counts until it is released', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [5_000]);
    const [one, two] = [roomOf(quota), roomOf(quota)];
    await one.claim(4_000, signal);
    expect([one.seemsReady(4_000), two.seemsReady(1_000), two.seemsReady(900)]).toEqual([true, false, true]);
    one.release();
    expect(two.seemsReady(4_900)).toBe(true);
    expect(evictions).toEqual([]);
  });

  it('is claimed once, however often its size is told', async () => {
    const quota = await counted({ maxBytes: 10_000 });
    const room = roomOf(quota);
    for (const size of [1_000, 9_000, 9_000, 2_000]) await room.claim(size, signal);
    expect(roomOf(quota).seemsReady(7_900)).toBe(true);
    expect(roomOf(quota).seemsReady(7_901)).toBe(false);
  });

  it('counts as stored when the store has it, once however often it comes', async () => {
    const quota = await counted({ maxBytes: 10_000 });
    for (let i = 0; i < 3; i++) await adopt(quota, 'a', 6_000);
    expect(roomOf(quota).seemsReady(3_900)).toBe(true);
    expect(roomOf(quota).seemsReady(4_000)).toBe(false);
    await quota.blobs.quarantine(of('a', 6_000), { signal });
    expect(roomOf(quota).seemsReady(9_900)).toBe(true);
  });

  it('needs no room where there is no limit', async () => {
    const quota = await counted({ upstreams: new Map([['hub', 1_000]]) });
    expect(quota.room({ upstream: 'quay', isSpare: false })).toBeUndefined();
  });

  it('is claimed in small steps of what has no size, so that a small limit is not taken at once', async () => {
    const quota = await counted({ maxBytes: 16_000 });
    expect(roomOf(quota).step).toBeLessThanOrEqual(1_000);
  });
});

describe('what does not fit', () => {
  it('makes the oldest go, down to the low-water mark', async () => {
    const quota = await counted({ maxBytes: 10_000, lowWater: 0.5 }, [3_000, 3_000, 3_000]);
    await roomOf(quota).claim(2_000, signal);
    expect(evictions).toEqual([{ bytes: 4_000 }]);
    expect([await storage.blobs.open(of('0', 3_000), { signal }), told()]).toEqual([undefined, []]);
    expect(oldest).toHaveLength(1);
  });

  it('waits together with what else does not: one look at what is stored makes room for all', async () => {
    const quota = await counted({ maxBytes: 10_000, lowWater: 0.5 }, [3_000, 3_000, 3_000]);
    await Promise.all([1, 2, 3].map(() => roomOf(quota).claim(1_000, signal)));
    expect(evictions).toHaveLength(1);
  });

  it('is refused at once where it could never fit, and nothing goes for it', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [5_000]);
    expect(await refused(roomOf(quota).claim(10_001, signal))).toBe(true);
    expect(evictions).toEqual([]);
  });

  it('is refused where too little can go, and that is told once in a minute for each upstream', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [9_000]);
    oldest = [];
    for (let i = 0; i < 3; i++) expect(await refused(roomOf(quota).claim(2_000, signal))).toBe(true);
    expect(told()).toEqual([
      {
        type: 'quota-exceeded',
        upstream: 'hub',
        of: 'cache',
        maxBytes: 10_000,
        storedBytes: 9_000,
        claimedBytes: 0,
        wantedBytes: 2_000,
      },
    ]);
    // What found nothing to go does not look again at once.
    expect(evictions).toHaveLength(1);
    expect(await refused(roomOf(quota, 'quay').claim(2_000, signal))).toBe(true);
    await clock.advance(60_000);
    expect(await refused(roomOf(quota).claim(2_000, signal))).toBe(true);
    expect(told().map(({ upstream }) => upstream)).toEqual(['hub', 'quay', 'hub']);
    expect(evictions).toHaveLength(2);
  });

  it('is refused after a while, where it takes too long to make room', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [9_000]);
    const held = gate();
    evict = async () => {
      await held.pass();
      return 0;
    };
    const claim = refused(roomOf(quota).claim(2_000, signal));
    await held.reached;
    await clock.advance(10_000);
    expect(await claim).toBe(true);
    held.open();
  });

  it('makes nothing go where nobody asked for it yet', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [9_000]);
    expect(await refused(roomOf(quota, 'hub', true).claim(2_000, signal))).toBe(true);
    expect(evictions).toEqual([]);
  });

  it('ends with its own signal', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [9_000]);
    const left = new AbortController();
    evict = () => new Promise(() => undefined);
    const claim = roomOf(quota).claim(2_000, left.signal);
    left.abort(new Error('left'));
    await expect(claim).rejects.toThrow('left');
    expect(roomOf(quota).seemsReady(900)).toBe(true);
  });

  it('is refused where the eviction fails, and that is told', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [9_000]);
    evict = () => Promise.reject(new Error('away'));
    expect(await refused(roomOf(quota).claim(2_000, signal))).toBe(true);
    expect(events[0]).toMatchObject({ type: 'store-failed', operation: 'evict', error: 'away' });
  });
});

it('begins to make room before it is needed, so that nobody waits for it', async () => {
  const quota = await counted({ maxBytes: 10_000, lowWater: 0.5 }, [3_000, 3_000]);
  await roomOf(quota).claim(1_000, signal);
  expect(evictions).toEqual([]);
  await roomOf(quota).claim(1_000, signal);
  expect(evictions).toEqual([{ bytes: 3_000 }]);
});

it('goes on as soon as there is room, though more is to go', async () => {
  const quota = await counted({ maxBytes: 10_000, lowWater: 0.1 }, [3_000, 3_000, 3_000]);
  const held = gate();
  evict = async () => {
    await quota.blobs.delete(oldest[0]!, { signal });
    await held.pass();
    return 3_000;
  };
  await roomOf(quota).claim(2_000, signal);
  held.open();
});

describe('manifests', () => {
  it('have some room of their own, which blobs leave', async () => {
    const quota = await counted({ maxBytes: 10_000 });
    oldest = [];
    await roomOf(quota).claim(9_900, signal);
    await quota.blobs.put({ digest: of('m', 100), bytes: bytesOf('m', 100), signal });
    expect(await refused(quota.blobs.put({ digest: of('n', 100), bytes: bytesOf('n', 100), signal }))).toBe(true);
    // It is there already.
    await quota.blobs.put({ digest: of('m', 100), bytes: bytesOf('m', 100), signal });
  });

  it('make room too', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [5_000, 5_000]);
    await quota.blobs.put({ digest: of('m', 100), bytes: bytesOf('m', 100), signal });
    expect(evictions).toHaveLength(1);
  });
});

describe('until all is counted', () => {
  it('nothing is stored, and what waits for that goes on then', async () => {
    await fill('0', 5_000);
    const held = gate();
    storage.on('blobs.digests', { gate: held, times: 1 });
    const quota = create({ maxBytes: 10_000 });
    await held.reached;
    expect(roomOf(quota).seemsReady(1)).toBe(false);
    const room = roomOf(quota);
    const claim = room.claim(4_000, signal);
    await adopt(quota, 'new', 900);
    held.open();
    await claim;
    expect([roomOf(quota).seemsReady(0), roomOf(quota).seemsReady(1)]).toEqual([true, false]);
  });

  it('which may take long, one pull waits for that in vain, and no other', async () => {
    await fill('0', 5_000);
    const held = gate();
    storage.on('blobs.digests', { gate: held, times: 1 });
    const quota = create({ maxBytes: 10_000 });
    await held.reached;
    const late = refused(roomOf(quota).claim(1_000, signal));
    await clock.advance(10_000);
    expect([await late, told()]).toMatchObject([true, [{ type: 'quota-exceeded', wantedBytes: 1_000 }]]);
    expect(await refused(roomOf(quota).claim(1_000, signal))).toBe(true);
    held.open();
    await expect.poll(() => roomOf(quota).seemsReady(4_900)).toBe(true);
  });

  it('a store that is away is not asked over and over by what wants room, but again after a while', async () => {
    storage.on('blobs.digests', { fail: 'away' });
    const quota = create({ maxBytes: 10_000 });
    await expect.poll(() => events.length).toBe(1);
    const rooms = Array.from({ length: 5 }, () => refused(roomOf(quota).claim(1_000, signal)));
    expect(await Promise.all(rooms)).toEqual([true, true, true, true, true]);
    expect(await refused(roomOf(quota).claim(1_000, signal))).toBe(true);
    expect(storage.calls('blobs.digests')).toBe(2);
    storage.heal();
    await clock.advance(2_000);
    await roomOf(quota).claim(1_000, signal);
  });

  it('a cache that is closed has room for nothing', async () => {
    storage.on('blobs.digests', { hang: true });
    const quota = create({ maxBytes: 10_000 });
    await quota.close();
    expect(await refused(roomOf(quota).claim(1_000, signal))).toBe(true);
  });

  it('manifests are', async () => {
    storage.on('blobs.digests', { fail: 'away' });
    const quota = create({ maxBytes: 10_000 });
    await quota.blobs.put({ digest: of('m', 100), bytes: bytesOf('m', 100), signal });
    await expect.poll(() => events).toMatchObject([{ type: 'store-failed', operation: 'count' }]);
  });

  it('a listing that failed is made again for whoever wants room', async () => {
    storage.on('blobs.digests', { fail: 'away', times: 1 });
    const quota = create({ maxBytes: 10_000 });
    await expect.poll(() => events.length).toBe(1);
    await roomOf(quota).claim(1_000, signal);
  });
});

it('a limit that is lower than what is stored makes the oldest go as soon as that is counted', async () => {
  await fill('0', 6_000);
  await fill('1', 6_000);
  create({ maxBytes: 10_000 });
  await expect.poll(() => evictions).toEqual([{ bytes: 3_000 }]);
});

describe('counting anew', () => {
  it('sees what others stored and removed, and what comes and goes meanwhile', async () => {
    const quota = await counted({ maxBytes: 10_000 }, [3_000, 3_000]);
    await storage.blobs.delete(of('0', 3_000), { signal });
    await fill('other', 1_000);
    const held = gate();
    storage.on('blobs.digests', { gate: held, times: 1 });
    const counting = quota.recount();
    await held.reached;
    await adopt(quota, 'new', 2_000);
    await quota.blobs.delete(of('1', 3_000), { signal });
    held.open();
    await counting;
    expect([roomOf(quota).seemsReady(6_900), roomOf(quota).seemsReady(6_901)]).toEqual([true, false]);
  });
});

describe('in a store that other processes use, too', () => {
  it('nothing goes for room that another made', async () => {
    await fill('0', 5_000);
    await fill('1', 4_500);
    const quota = create({ maxBytes: 10_000 }, { coordinator: localCoordinator({ clock }) });
    await quota.recount();
    await storage.blobs.delete(of('0', 5_000), { signal });
    await roomOf(quota).claim(3_000, signal);
    expect(evictions).toEqual([]);
  });

  it('what others brought is known of after the sweep of another', async () => {
    const quota = create({ maxBytes: 10_000 }, { coordinator: localCoordinator({ clock }) });
    await quota.recount();
    await fill('of another', 9_000);
    quota.sweptElsewhere();
    await expect.poll(() => roomOf(quota).seemsReady(2_000)).toBe(false);
  });
});

describe('several processes that are over the limit', () => {
  const shared = async (coordinator: Coordinator) => {
    for (const name of ['0', '1', '2']) await fill(name, 3_000);
    const quotas = [0, 1].map(() => create({ maxBytes: 10_000, lowWater: 0.5 }, { coordinator }));
    for (const quota of quotas) await quota.recount();
    return quotas as [Quota, Quota];
  };

  it('let go once, and not once each', async () => {
    const coordinator = localCoordinator({ clock });
    const [one, other] = await shared(coordinator);
    const [held, letGo] = [gate(), evict];
    evict = async (wanted) => {
      await held.pass();
      return await letGo(wanted);
    };
    const claims = [one, other].map((quota) => roomOf(quota).claim(2_000, signal));
    await held.reached;
    held.open();
    await claims[0];
    expect(await coordinator.holder('retention/evict')).toBeUndefined();
    await clock.advance(1_000);
    await claims[1];
    expect([evictions, oldest.length]).toEqual([[{ bytes: 4_000 }], 1]);
  });

  it('make room each for itself while their coordinator is away', async () => {
    const acquire = () => Promise.reject(new Error('away'));
    const [one] = await shared({ ...localCoordinator({ clock }), acquire });
    await roomOf(one).claim(2_000, signal);
    expect(evictions).toEqual([{ bytes: 4_000 }]);
  });

  it('wait for no turn when the cache is closed', async () => {
    const coordinator = localCoordinator({ clock });
    const [one] = await shared(coordinator);
    const lease = await coordinator.acquire('retention/evict', { for: 60_000, signal });
    const asked = gate();
    const { acquire } = coordinator;
    coordinator.acquire = (...given) => {
      void asked.pass();
      return acquire(...given);
    };
    const claim = refused(roomOf(one).claim(2_000, signal));
    await asked.reached;
    await one.close();
    await clock.advance(10_000);
    expect([await claim, evictions]).toEqual([true, []]);
    await lease?.release();
    await clock.advance(1_000);
    expect(evictions).toEqual([]);
  });
});

describe('a limit of an upstream', () => {
  const links = (quota: Quota) =>
    quota.links(
      createLinks({ metadata: storage.metadata, clock, observe: () => undefined, validForMs: () => Infinity }, 10),
    );
  const prove = async (quota: Quota, upstream: string, name: string, size: number) => {
    await links(quota).prove(place(upstream), 'blob', { digest: of(name, size), mediaType: 'x', size });
  };

  it('counts what its repositories hold, also what another brought, and makes its own go', async () => {
    const quota = await counted({ upstreams: new Map([['hub', 10_000]]) }, [5_000, 4_000]);
    await prove(quota, 'hub', '0', 5_000);
    expect(roomOf(quota).seemsReady(4_900)).toBe(true);
    await prove(quota, 'hub', '1', 4_000);
    await prove(quota, 'hub', '1', 4_000);
    expect([roomOf(quota).seemsReady(900), roomOf(quota).seemsReady(901)]).toEqual([true, false]);
    await roomOf(quota).claim(2_000, signal);
    expect(evictions).toEqual([{ bytes: 1_100, upstream: 'hub' }]);
  });

  it('is known of by its links after a restart, and when they have gone', async () => {
    const before = await counted({ upstreams: new Map([['hub', 10_000]]) }, [5_000]);
    await prove(before, 'hub', '0', 5_000);
    await prove(before, 'quay', '0', 5_000);
    const quota = await counted({ upstreams: new Map([['hub', 10_000]]) });
    expect([roomOf(quota).seemsReady(4_900), roomOf(quota).seemsReady(4_901)]).toEqual([true, false]);
    for (const key of await storage.metadata.list('link/hub/', { limit: 10, signal })) {
      await storage.metadata.delete(key, { signal });
    }
    await quota.recount();
    expect(roomOf(quota).seemsReady(9_900)).toBe(true);
  });

  it('holds beside that of all', async () => {
    const quota = await counted({ maxBytes: 20_000, upstreams: new Map([['hub', 10_000]]) });
    await roomOf(quota, 'quay').claim(15_000, signal);
    expect(await refused(roomOf(quota).claim(8_000, signal))).toBe(true);
    expect(told()).toMatchObject([{ of: 'cache' }]);
    expect(await refused(roomOf(quota).claim(12_000, signal))).toBe(true);
  });
});

it('ends what counts with the cache', async () => {
  storage.on('blobs.digests', { hang: true });
  const quota = create({ maxBytes: 10_000 });
  await quota.close();
  expect(events).toEqual([]);
});
