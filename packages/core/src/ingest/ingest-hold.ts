import type { Buffers } from '../runtime/buffers.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { follow, untilReadable } from './follower.ts';
import type { SpoolView } from './spool-view.ts';

/** A reader's hold on an ingest. */
export interface IngestHold {
  /** Reads it from here on, while it runs and after. */
  follow(part?: ByteRange): Bytes;
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
    follow: (part) => follow(view, buffers, part),
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
