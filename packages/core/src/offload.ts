import type { ProxyCacheEvent } from './events.ts';
import type { ContentHash } from './ingest/content-hash.ts';
import { threadHashes } from './ingest/thread-hash.ts';
import type { Digest } from './oci/digest.ts';
import { defaults, type ProxyCacheOptions } from './options.ts';
import { createThreads, type Threads, threadEnded } from './runtime/threads.ts';
import { type ThreadLanes, threadLanes } from './upstream/thread-lanes.ts';

/** What of a cache's work is done by worker threads. */
export interface Offload {
  threads: Threads;
  /** Whether they look at the memory that bodies come in. */
  isShared: boolean;
  /** Where digests are worked out. `undefined`: here. */
  hashElsewhere: ((digest: Digest) => ContentHash | undefined) | undefined;
  /** From how many transfers at once on they are, where none comes fast. */
  hashElsewhereFrom: number;
  /** Where blobs are received. `undefined`: here. */
  lanes: ThreadLanes | undefined;
}

/** Makes ready what the options ask for; a thread starts when there is work for it. */
export function createOffload(
  { offload = defaults.offload, threads: count = defaults.threads }: Pick<ProxyCacheOptions, 'offload' | 'threads'>,
  observe: (event: ProxyCacheEvent) => void,
): Offload {
  const threads = createThreads({
    entry: () => new URL('./proxycache-thread.js', import.meta.url),
    count,
    failed: (cause) => observe({ type: 'warning', message: threadEnded(cause) }),
  });
  return {
    threads,
    isShared: offload !== 'off',
    hashElsewhere: offload === 'off' ? undefined : threadHashes(threads),
    // One blob leaves this thread enough time, unless it comes fast; an image's layers come together.
    hashElsewhereFrom: offload === 'auto' ? 2 : 1,
    lanes: offload === 'ingest' ? threadLanes(threads, count) : undefined,
  };
}
