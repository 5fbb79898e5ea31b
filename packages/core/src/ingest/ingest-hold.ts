import type { Buffers } from '../runtime/buffers.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { type Followed, follow, untilReadable } from './follower.ts';
import type { SpoolView } from './spool-view.ts';

/** A reader's hold on an ingest. */
export interface IngestHold {
  /** Size of the whole blob as it is known now. */
  total(): number | undefined;
  /** Reads it from here on, while it runs and after. */
  follow(what?: Followed): Bytes;
  /**
   * Resolves when the byte at `position` can be read, or none more will come.
   *
   * @throws what the ingest failed with, the signal's reason
   */
  readable(position: number, signal: AbortSignal): Promise<void>;
  /** Bytes that have come so far: all of them, once verified. */
  received(): number;
  isVerified(): boolean;
  /** May be called again without harm. */
  release(): Promise<void>;
}

/** Holds the spool file open from now on. */
export function holdOf(view: SpoolView, buffers: Buffers): IngestHold {
  const file = view.open();
  let released = false;
  return {
    total: () => view.total,
    follow: (what) => follow(view, buffers, what),
    readable: (position, signal) => untilReadable(view, position, signal),
    received: () => view.state().contiguous,
    isVerified: () => view.state().phase === 'verified',
    async release() {
      if (released) return;
      released = true;
      await file.close();
    },
  };
}
