/** Memory that goes from hand to hand: filled from a socket, read by whoever writes and hashes it, filled again. */
export interface Slabs {
  /**
   * Memory to fill, now the taker's. Never waits: past the budget it is a small piece of its own.
   *
   * @param atOnce how many bytes are about to come at once; for many it is a larger slab. Default: nobody knows
   */
  take(atOnce?: number): Uint8Array;
  /**
   * Takes memory back, by any view of it; nobody may look at it from now on. What is not out of these slabs, or was given
   * back before, is ignored. Memory that somebody may still look at is never given back: it is simply forgotten.
   */
  give(memory: Uint8Array): void;
}

/** All of a cache's. */
export interface SlabPool extends Slabs {
  /** From now on what is given back is never handed out again: who is cut off may not have done with it. */
  close(): void;
}

// Passed on at least half full, so that what is written and hashed at once is at least 256 KiB.
const slabBytes = 512 * 1024;
// All work on a piece but the copies costs the same however large it is, and a turn of the event loop has time for this.
const largeBytes = 1024 * 1024;
const smallBytes = 64 * 1024;

/**
 * A pool of slabs of 512 KiB and of 1 MiB, of at most `maxBytes` together.
 *
 * @param how.shared whether threads look at them, too. Default: no
 */
export function createSlabs(maxBytes: number, { shared = false }: { shared?: boolean } = {}): SlabPool {
  const idle: Uint8Array[] = [];
  const idleLarge: Uint8Array[] = [];
  const lent = new WeakMap<ArrayBufferLike, Uint8Array>();
  let madeBytes = 0;
  let isClosed = false;
  // Forgotten ones make room again.
  const forgotten = new FinalizationRegistry<number>((bytes) => {
    madeBytes -= bytes;
  });

  function make(bytes: number): Uint8Array | undefined {
    if (madeBytes + bytes > maxBytes) return undefined;
    const slab = shared ? Buffer.from(new SharedArrayBuffer(bytes)) : Buffer.allocUnsafeSlow(bytes);
    forgotten.register(slab.buffer, bytes);
    madeBytes += bytes;
    return slab;
  }

  function makeLarge(): Uint8Array | undefined {
    const made = make(largeBytes);
    // In the place of idle ones: else what was slow once and is fast now would keep the memory of both.
    if (made) idle.splice(-largeBytes / slabBytes);
    return made;
  }

  function slabFor(atOnce: number): Uint8Array | undefined {
    const large = atOnce > slabBytes ? (idleLarge.pop() ?? makeLarge()) : undefined;
    return large ?? idle.pop() ?? idleLarge.pop() ?? make(slabBytes);
  }

  return {
    take(atOnce = 0) {
      const slab = slabFor(atOnce);
      if (!slab) return Buffer.allocUnsafeSlow(smallBytes);
      lent.set(slab.buffer, slab);
      return slab;
    },
    give({ buffer }) {
      const slab = lent.get(buffer);
      if (!slab) return;
      lent.delete(buffer);
      if (!isClosed) (slab.byteLength === largeBytes ? idleLarge : idle).push(slab);
    },
    close() {
      isClosed = true;
    },
  };
}
