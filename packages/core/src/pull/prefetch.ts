import type { RunningIngest } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { parseManifest } from '../oci/manifest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import { createDeferred } from '../runtime/deferred.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createRecent } from '../runtime/recent.ts';
import { keptSpan } from '../runtime/tracing.ts';
import { turn } from '../runtime/turn.ts';
import { storeFailed } from '../store/events.ts';
import type { ManifestAnswer } from './answer.ts';
import type { PrefetchEvent } from './events.ts';
import { obstacleOf, obstacleTo } from './prefetch-obstacle.ts';
import { createPrefetchQueue, type PrefetchQueue, type Wanted } from './prefetch-queue.ts';
import type { PullParts } from './pull-parts.ts';
import { startIngest } from './start-ingest.ts';
import type { Target } from './target.ts';

/** Fetches the blobs of images before they are asked for: see {@link createPrefetch}. */
export interface Prefetch {
  /** A client was given a manifest. Where there is nothing to do for it, that is found at once. */
  served(target: Target, manifest: ManifestAnswer): void;
  /** A client's own request brings a blob in, which was not stored: nobody else has to. */
  started(blob: { target: Target; digest: Digest }): void;
  /** A request waits for a connection to an upstream. */
  crowded(upstream: string): void;
  /** Ends what nobody asked for, and resolves when nothing more is read for it. */
  close(): Promise<void>;
}

/** What is fetched ahead from one upstream. */
interface Lane {
  upstream: string;
  waiting: PrefetchQueue;
  running: number;
  restsUntil: number;
  /** When a client was last given a manifest: it is about to ask. */
  servedAt: number;
  /** Ends the wait for a quiet moment; `undefined`: nothing waits for one. */
  stopWaiting: (() => void) | undefined;
}

// Enough to have the next one under way while another ends; the connections are the clients'.
const mostAtOnce = 2;
const connectionsForEach = 4;
// On a link that is full any other byte is one that a client waits for: large blobs come while clients want nothing.
const quietMs = 1_000;
const restMs = 30_000;
// A manifest that was looked at is looked at again after a while: what it names may have been evicted meanwhile.
const mostSeen = 10_000;
const seenForMs = 10 * 60_000;

const imageTypes: ReadonlySet<string> = new Set([mediaTypes.ociManifest, mediaTypes.dockerManifest]);

/** How many blobs an upstream with so many connections is asked for ahead at a time: of a few none. */
export function prefetchesOf(connections: number): number {
  return Math.min(Math.floor(connections / connectionsForEach), mostAtOnce);
}

/**
 * Brings in the config and layers of an image whose manifest a client was given, in the order in which clients ask: what is
 * neither stored, for whichever repository, nor under way. Clients go first everywhere: what they ask for starts at once,
 * as their own; what is large is begun only where they have wanted nothing of the upstream for a moment, and waits as soon as
 * they do; what was begun is theirs as soon as they ask, and is given up where they need its place. It stops for a while where
 * anything goes wrong.
 */
export function createPrefetch(parts: PullParts): Prefetch {
  const { ingests, blobs, manifests, clock, observe } = parts;
  const lanes = new Map<string, Lane>();
  const seen = createRecent<Digest, number>(mostSeen);
  const busy = new Set<Promise<void>>();
  const closing = new AbortController();
  const { signal } = closing;

  function laneOf(upstream: string): Lane {
    const lane = lanes.get(upstream) ?? emptyLane(upstream);
    lanes.set(upstream, lane);
    return lane;
  }

  const rests = (lane: Lane) => signal.aborted || clock.monotonic() < lane.restsUntil;

  function track(work: Promise<void>): void {
    busy.add(work);
    void work.finally(() => busy.delete(work));
  }

  function pause(lane: Lane, reason: PrefetchEvent['reason']): void {
    if (rests(lane)) return;
    lane.restsUntil = clock.monotonic() + restMs;
    const dropped = lane.waiting.clear();
    for (const { manifest } of dropped) seen.delete(manifest);
    observe({ type: 'prefetch-paused', upstream: lane.upstream, reason, dropped: dropped.length });
  }

  async function line(lane: Lane, target: Target, manifest: { digest: Digest; bytes: Uint8Array }): Promise<void> {
    // The client's answer goes first.
    const within = parts.trace && keptSpan();
    await turn();
    if (rests(lane)) return void seen.delete(manifest.digest);
    for (const { digest, size, foreign } of blobsOf(manifest.bytes)) {
      if (foreign || (size ?? 0) > target.upstream.maxBlobBytes) continue;
      const dropped = lane.waiting.add({ target, digest, size, manifest: manifest.digest, within });
      if (dropped) seen.delete(dropped.manifest);
    }
    goOn(lane, target.upstream.prefetches);
  }

  function goOn(lane: Lane, most: number): void {
    const quiet = Math.min(ingests.quietFor(lane.upstream), clock.monotonic() - lane.servedAt) >= quietMs;
    while (lane.running < most) {
      const wanted = lane.waiting.take({ large: quiet });
      if (!wanted) break;
      lane.running++;
      const { within = (run) => run() } = wanted;
      track(
        within(() => bring(lane, wanted)).finally(() => {
          lane.running--;
          goOn(lane, most);
        }),
      );
    }
    if (lane.waiting.size === 0 || lane.running >= most) return;
    lane.stopWaiting ??= clock.after(quietMs, () => {
      lane.stopWaiting = undefined;
      goOn(lane, most);
    });
  }

  /** Resolves when the blob is stored, or a client's matter. Never rejects. */
  async function bring(lane: Lane, wanted: Wanted): Promise<void> {
    const { target, digest, manifest } = wanted;
    try {
      if (!(await isMissing(lane, digest))) return;
      const obstacle = obstacleTo(target);
      if (obstacle) pause(lane, obstacle);
      if (rests(lane)) return void seen.delete(manifest);
      const claimed = createDeferred<void>();
      const spare = { claimed: () => claimed.resolve() };
      const ingest = startIngest(parts, { target, digest, since: clock.monotonic(), spare });
      await Promise.race([claimed.promise, keptOf(lane, digest, ingest)]);
    } catch (error) {
      seen.delete(manifest);
      pause(lane, obstacleOf(error));
    }
  }

  /** Resolves when a transfer has ended; rejects where nothing came of it, but for what the upstream does not have. */
  async function keptOf(lane: Lane, digest: Digest, { reply, verified, ended }: RunningIngest): Promise<void> {
    const refused = reply.then(
      ({ kind }) => kind !== 'found',
      () => false,
    );
    try {
      await verified;
    } catch (error) {
      if (await refused) return;
      throw error;
    }
    await ended;
    // Verified, and not stored: the store fails, and each client will have to bring it in again.
    if (await isMissing(lane, digest))
      throw new ProxyCacheError('storage-failed', 'what was fetched ahead was not kept');
  }

  /** Whether nobody has it here, nor on the way: another repository's needs a proof, which is the client's to ask for. */
  async function isMissing(lane: Lane, digest: Digest): Promise<boolean> {
    const before = ingests.endings(digest);
    if (ingests.find(lane.upstream, digest)) return false;
    try {
      const blob = await blobs.open(digest, { forBytes: false, signal });
      await blob?.close();
      return !blob && !ingests.find(lane.upstream, digest) && ingests.endings(digest) === before;
    } catch (error) {
      if (!signal.aborted) observe(storeFailed('open', digest, error));
      return false;
    }
  }

  return {
    served(target, { descriptor, bytes }) {
      if (
        target.upstream.prefetches === 0 ||
        target.upstream.mode === 'offline' ||
        !bytes ||
        !imageTypes.has(descriptor.mediaType)
      )
        return;
      const { digest } = descriptor;
      const at = seen.get(digest);
      if (at !== undefined && clock.monotonic() - at < seenForMs) return;
      const lane = laneOf(target.place.upstream);
      if (rests(lane)) return;
      lane.servedAt = clock.monotonic();
      seen.set(digest, lane.servedAt);
      track(line(lane, target, { digest, bytes }));
    },
    started({ target, digest }) {
      lanes.get(target.place.upstream)?.waiting.delete(digest);
      const [told] = manifests.sizesOf(digest);
      if (told) seen.delete(told.manifest);
    },
    crowded(upstream) {
      const lane = lanes.get(upstream);
      if (!lane || (lane.running === 0 && lane.waiting.size === 0)) return;
      pause(lane, 'crowded');
      ingests.giveWay(upstream);
    },
    async close() {
      closing.abort();
      for (const lane of lanes.values()) {
        lane.waiting.clear();
        lane.stopWaiting?.();
      }
      ingests.giveWay();
      await Promise.all(busy);
    },
  };
}

function emptyLane(upstream: string): Lane {
  return { upstream, waiting: createPrefetchQueue(), running: 0, restsUntil: 0, servedAt: 0, stopWaiting: undefined };
}

function blobsOf(manifest: Uint8Array): ReturnType<typeof parseManifest>['blobs'] {
  try {
    return parseManifest(manifest).blobs;
  } catch {
    // Taken by an older release, and not by this one: served, and not understood.
    return [];
  }
}
