import type { Digest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createIngest, type Ingest, type IngestParts, type IngestRequest } from './ingest.ts';

/** An ingest under way, and the repositories that proved to hold its blob. */
export interface RunningIngest extends Ingest {
  /** `<scope>/<repository>` of each: others join only after a proof of their own. */
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
  start(request: IngestRequest, provenFor: string): RunningIngest;
  /** Lets what runs end by itself for `graceMs`, then cuts it off. Resolves when all have ended. */
  close(graceMs: number): Promise<void>;
}

export function createIngests(parts: IngestParts & { maxIngests: number }): Ingests {
  const running = new Map<string, RunningIngest>();
  const cutOff = new AbortController();
  let closed = false;

  return {
    find: (upstream, digest) => running.get(`${upstream} ${digest}`),
    start(request, provenFor) {
      if (closed) throw new ProxyCacheError('closed', 'the cache is closed');
      if (running.size >= parts.maxIngests) {
        throw new ProxyCacheError('too-many-ingests', `${running.size} transfers run already; try again shortly`);
      }
      const key = `${request.upstream} ${request.digest}`;
      const ingest = createIngest(request, parts, cutOff.signal);
      const entry: RunningIngest = { ...ingest, provenFor: new Set([provenFor]) };
      running.set(key, entry);
      const forget = () => {
        if (running.get(key) === entry) running.delete(key);
      };
      // What failed is no use to newcomers, though its readers may still be leaving.
      ingest.verified.catch(forget);
      void ingest.ended.then(forget);
      return entry;
    },
    async close(graceMs) {
      closed = true;
      const ended = Promise.all([...running.values()].map((ingest) => ingest.ended));
      const stop = parts.clock.after(graceMs, () => {
        cutOff.abort(new ProxyCacheError('closed', 'the cache was closed while the blob came in'));
      });
      await ended;
      stop();
    },
  };
}
