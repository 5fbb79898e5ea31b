import { setMaxListeners } from 'node:events';
import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { claimStep } from './claimed-body.ts';
import { createIngest, type Ingest, type IngestParts, type IngestRequest } from './ingest.ts';

/** An ingest under way, and who may read it. Repositories are given as `<scope>/<repository>`. */
export interface RunningIngest extends Ingest {
  /** Whose request it is: what it comes to is said of this repository alone. */
  readonly startedFor: string;
  /** Who proved to hold its blob, and who it was started for: others join only after a proof of their own. */
  readonly provenFor: Set<string>;
}

/** All ingests of this process: one per upstream and digest. */
export interface Ingests {
  /** The running ingest, while it can be followed or its blob is on the way to the store. */
  find(upstream: string, digest: Digest): RunningIngest | undefined;
  /**
   * Starts one.
   *
   * @throws ProxyCacheError `too-many-ingests`, `closed`
   */
  start(request: IngestRequest, startedFor: string): RunningIngest;
  /** Another number than before where a transfer of this blob has been verified and ended since. */
  endings(digest: Digest): number;
  /** Lets what runs end by itself for `graceMs`, then cuts it off. Resolves when all have ended. */
  close(graceMs: number): Promise<void>;
}

// Of blobs that came in, or outgrew the disk, lately.
const mostRemembered = 10_000;

/** @param parts.maxIngests how many may be coming in at a time; those that wait for the store do not count */
export function createIngests(parts: IngestParts & { maxIngests: number }): Ingests {
  const joinable = new Map<string, RunningIngest>();
  const running = new Set<RunningIngest>();
  const endings = new LRUCache<Digest, number>({ max: mostRemembered });
  // Without this each pull of a blob whose size nobody told would break off where the disk is full.
  const leastSizes = new LRUCache<Digest, number>({ max: mostRemembered });
  let filling = 0;
  let ended = 0;
  const cutOff = new AbortController();
  // Every transfer listens to it.
  setMaxListeners(0, cutOff.signal);
  let closed = false;

  return {
    find: (upstream, digest) => joinable.get(`${upstream} ${digest}`),
    start(request, startedFor) {
      if (closed) throw new ProxyCacheError('closed', 'the cache is closed');
      if (filling >= parts.maxIngests) {
        throw new ProxyCacheError('too-many-ingests', `${filling} transfers run already; try again shortly`);
      }
      const key = `${request.upstream} ${request.digest}`;
      const leastSize = leastSizes.get(request.digest) ?? 0;
      const ingest = createIngest({ leastSize, ...request }, parts, cutOff.signal);
      const entry: RunningIngest = { ...ingest, startedFor, provenFor: new Set([startedFor]) };
      joinable.set(key, entry);
      running.add(entry);
      filling++;
      let verified = false;
      const part = () => {
        if (joinable.get(key) === entry) joinable.delete(key);
      };
      // What failed is no use to newcomers, though its readers may still be leaving.
      ingest.verified.then(
        () => {
          verified = true;
          filling--;
        },
        (error) => {
          filling--;
          part();
          if (isProxyCacheError(error) && error.code === 'storage-full' && ingest.received() > 0) {
            leastSizes.set(request.digest, ingest.received() + claimStep);
          }
        },
      );
      void ingest.ended.then(() => {
        part();
        running.delete(entry);
        if (verified) endings.set(request.digest, ++ended);
      });
      return entry;
    },
    endings: (digest) => endings.get(digest) ?? 0,
    async close(graceMs) {
      closed = true;
      const ended = Promise.all([...running].map((ingest) => ingest.ended));
      const cut = () => cutOff.abort(new ProxyCacheError('closed', 'the cache was closed while the blob came in'));
      if (graceMs === 0) cut();
      const stop = parts.clock.after(graceMs, cut);
      await ended;
      stop();
    },
  };
}
