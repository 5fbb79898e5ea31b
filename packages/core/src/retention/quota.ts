import type { Links } from '../catalog/links.ts';
import { claimStep } from '../ingest/claimed-body.ts';
import type { Room } from '../ingest/room.ts';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Coordinator } from '../store/coordinator.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import type { SharedBlobs } from '../store/shared-blobs.ts';
import { countedBlobs } from './counted-blobs.ts';
import { createDiskRoom } from './disk-room.ts';
import type { QuotaEvent, RetentionEvent } from './events.ts';
import type { Evict } from './evict.ts';
import { createEvictionTurns } from './eviction-turn.ts';
import { createLimit, type Limit } from './limit.ts';
import { createStoredBytes } from './stored-bytes.ts';

/** How much may be stored. */
export interface Limits {
  /** Of all. Default: no limit. */
  maxBytes: number | undefined;
  /** What is left of a limit after some has gone for it, as a share. */
  lowWater: number;
  /** Of some upstreams, by their keys, at first. */
  upstreams: ReadonlyMap<string, number>;
}

/** Keeps what is stored within limits: see {@link createQuota}. */
export interface Quota {
  /** The same store, of which is counted what comes and goes. Manifests that do not fit are refused. */
  blobs: SharedBlobs;
  /** The same links, of which is counted whose content is whose. */
  links(links: Links): Links;
  /** Room for a blob from an upstream. @param isSpare nobody asked for it yet: nothing goes for it */
  room(blob: { upstream: string; isSpare: boolean }): Room | undefined;
  /** The same observer, by whose events all is counted anew after each sweep. */
  watched<T>(observe: (event: T | RetentionEvent) => void): (event: T | RetentionEvent) => void;
  /** How much may be stored of an upstream from now on; `undefined`: no limit of its own. */
  bound(upstream: string, maxBytes: number | undefined): void;
  /** Bytes of all that is stored; `undefined`: not counted, as nothing bounds it, or not yet. */
  storedBytes(): number | undefined;
  /** Another process has swept: counts anew, in the background. */
  sweptElsewhere(): void;
  /** Counts anew, and lets go what is over a limit. Rejects with what the stores throw. */
  recount(): Promise<void>;
  /** Ends what runs for it. Never rejects. */
  close(): Promise<void>;
}

/** What {@link createQuota} works with. */
export interface QuotaParts {
  blobs: SharedBlobs;
  metadata: MetadataStore;
  evict: Evict;
  /** Whether what goes makes room on a disk of which `minFree` stays free. */
  freesDisk: boolean;
  /** Of the other processes that bring and remove things, too. Default: there are none. */
  coordinator: Coordinator | undefined;
  clock: Clock;
  observe(event: QuotaEvent | StoreEvent): void;
}

/** A client waits for its first byte meanwhile. */
const evictWithinMs = 10_000;

const toldEveryMs = 60_000;

/**
 * Keeps what is stored, and what running transfers have claimed, within limits: what would not fit waits for what was used
 * the longest ago to go, or is not stored. What is stored is counted in the background at first; nothing is until then.
 */
export function createQuota(limits: Limits, parts: QuotaParts): Quota {
  const { clock, observe } = parts;
  const closing = new AbortController();
  const { signal } = closing;
  const { inTurn, ended } = createEvictionTurns(parts);
  const disk = parts.freesDisk ? createDiskRoom({ ...parts, inTurn, withinMs: evictWithinMs, signal }) : undefined;
  const counts = createStoredBytes(parts, [...limits.upstreams.keys()]);
  const toldAt = new Map<string, number>();
  let counting: Promise<void> | undefined;
  const { lowWater } = limits;
  const counted = () => tried(count());
  // By what it remembers each of many processes would let as much go as is to go in all.
  const recounted = parts.coordinator ? counted : async () => undefined;
  const told = { lowWater, evict: parts.evict, inTurn, counted, recounted, clock, signal, observe };
  const ofAll =
    limits.maxBytes === undefined
      ? undefined
      : createLimit({
          ...told,
          maxBytes: limits.maxBytes,
          stored: () => counts.bytes(),
          evicted: async () => undefined,
        });
  const ofUpstreams = new Map([...limits.upstreams].map(([key, maxBytes]) => [key, limitOf(key, maxBytes)] as const));
  const isLimited = () => ofAll !== undefined || ofUpstreams.size > 0;

  function limitOf(upstream: string, maxBytes: number): Limit {
    const stored = () => counts.bytes(upstream);
    const evicted = () => counts.countOf(upstream, signal);
    return createLimit({ ...told, upstream, maxBytes, stored, evicted });
  }

  // What is on its way by now goes by the limit that it began with.
  function bound(upstream: string, maxBytes: number | undefined): void {
    if (ofUpstreams.get(upstream)?.maxBytes === maxBytes) return;
    ofUpstreams.delete(upstream);
    counts.watch(upstream, maxBytes !== undefined);
    if (maxBytes === undefined) return;
    ofUpstreams.set(upstream, limitOf(upstream, maxBytes));
    recountBehind();
  }

  function count(): Promise<void> {
    counting ??= counts.count(signal).finally(() => {
      counting = undefined;
    });
    return counting;
  }

  async function recount(): Promise<void> {
    await count();
    for (const limit of [ofAll, ...ofUpstreams.values()]) limit?.enforce();
  }

  async function tried(work: Promise<void>): Promise<void> {
    await work.catch((error) => {
      if (!signal.aborted) observe(storeFailed('count', 'all', error));
    });
  }

  function exceeded(upstream: string, limit: Limit, wantedBytes: number): ProxyCacheError {
    const [now, storedBytes] = [clock.monotonic(), limit.stored()];
    if (now - (toldAt.get(upstream) ?? Number.NEGATIVE_INFINITY) >= toldEveryMs) {
      toldAt.set(upstream, now);
      observe({
        type: 'quota-exceeded',
        upstream,
        of: limit.upstream === undefined ? 'cache' : 'upstream',
        maxBytes: limit.maxBytes,
        ...(storedBytes !== undefined && { storedBytes }),
        claimedBytes: limit.claimed(),
        wantedBytes,
      });
    }
    return new ProxyCacheError('quota-exceeded', `${wantedBytes} bytes more do not fit into maxBytes; raise it`);
  }

  function room({ upstream, isSpare }: { upstream: string; isSpare: boolean }): Room | undefined {
    const own = [ofAll, ofUpstreams.get(upstream)].filter((limit) => limit !== undefined);
    if (own.length === 0 && !disk) return undefined;
    let held = 0;

    function change(bytes: number): void {
      for (const limit of own) limit.take(bytes - held);
      held = bytes;
    }

    return {
      step: Math.min(claimStep, ...own.map(({ mostBytes }) => Math.ceil(mostBytes / 16))),
      seemsReady: (bytes) => own.every((limit) => limit.fits(Math.max(bytes - held, 0))),
      async claim(bytes, waits) {
        const more = bytes - held;
        const until = clock.monotonic() + evictWithinMs;
        const never = own.find(({ mostBytes }) => bytes > mostBytes);
        if (never) throw exceeded(upstream, never, bytes);
        for (let full = more > 0 ? over() : undefined; full; full = over()) {
          const leftMs = until - clock.monotonic();
          if (isSpare || leftMs <= 0 || !(await full.makeRoom(more, leftMs, waits))) {
            throw exceeded(upstream, full, bytes);
          }
        }
        waits.throwIfAborted();
        change(bytes);

        function over(): Limit | undefined {
          return own.find((limit) => !limit.fits(more));
        }
      },
      free: async (wanted, waits) => (disk && !isSpare ? await disk.free(wanted, waits) : false),
      release: () => change(0),
    };
  }

  function freed(): void {
    for (const limit of [ofAll, ...ofUpstreams.values()]) limit?.freed();
  }

  async function close(): Promise<void> {
    closing.abort(new ProxyCacheError('closed', 'the cache is closed'));
    await Promise.all([counting?.catch(() => undefined), ended()]);
  }

  function recountBehind(): void {
    if (isLimited()) void tried(recount());
  }

  recountBehind();
  return {
    blobs: countedBlobs(parts.blobs, { counts, limit: ofAll, withinMs: evictWithinMs, freed }),
    links: (links) => ({
      ...links,
      prove(place, kind, content) {
        counts.linked(place.upstream, content.digest);
        return links.prove(place, kind, content);
      },
    }),
    room,
    watched: (observeAll) => (event) => {
      observeAll(event);
      const { type, reason, dryRun } = event as Partial<Extract<RetentionEvent, { type: 'sweep-ended' }>>;
      if (type === 'sweep-ended' && reason === 'unused' && !dryRun) recountBehind();
    },
    bound,
    storedBytes: () => counts.bytes(),
    sweptElsewhere: recountBehind,
    recount,
    close,
  };
}

/** Nothing goes for what comes in. */
export function unlimited(blobs: SharedBlobs): Quota {
  const nothing = async () => undefined;
  const same = <T>(value: T) => value;
  const none = () => undefined;
  const counts = { bound: none, storedBytes: none, recount: nothing };
  return { blobs, links: same, watched: same, room: none, sweptElsewhere: none, ...counts, close: nothing };
}
