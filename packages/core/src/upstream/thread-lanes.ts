import type { MessagePort } from 'node:worker_threads';
import type { Threads } from '../runtime/threads.ts';
import { type NetworkDefaults, networkDefaults } from './network-defaults.ts';

/** Lanes whose connections are in worker threads. */
export interface ThreadLanes {
  /** Starts what they need, should it not be there: a thread takes longer to start than a manifest to come. */
  prepare(): void;
  /** To where a lane to this origin is served; `undefined`: there is no thread. */
  open(origin: string): MessagePort | undefined;
}

/** What a thread gets to serve a lane. Without an origin it only makes ready. */
export interface LaneInit {
  origin?: string;
  defaults: NetworkDefaults;
}

/** @param count how many threads there may be */
export function threadLanes(threads: Threads, count: number): ThreadLanes {
  let isPrepared = false;
  const open = (init: LaneInit) => threads.open('lane', init);
  return {
    prepare() {
      if (isPrepared) return;
      isPrepared = true;
      const defaults = networkDefaults({ isSecure: false });
      // Each thread closes its own: all are begun before.
      for (let i = 0; i < count; i++) open({ defaults });
    },
    open: (origin) => open({ origin, defaults: networkDefaults({ isSecure: origin.startsWith('https:') }) }),
  };
}
