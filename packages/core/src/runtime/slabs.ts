/** Memory that goes from hand to hand: filled from a socket, read by whoever writes and hashes it, filled again. */
export interface Slabs {
  /** Memory to fill, now the taker's. Never waits: past the budget it is a small piece of its own. */
  take(): Uint8Array;
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
const smallBytes = 64 * 1024;

/**
 * A pool of 512 KiB slabs, of at most `maxBytes` together.
 *
 * @param how.shared whether threads look at them, too. Default: no
 */
export function createSlabs(maxBytes: number, { shared = false }: { shared?: boolean } = {}): SlabPool {
  const idle: Uint8Array[] = [];
  const lent = new WeakMap<ArrayBufferLike, Uint8Array>();
  let made = 0;
  let isClosed = false;
  // Forgotten ones make room again.
  const forgotten = new FinalizationRegistry(() => {
    made--;
  });

  function make(): Uint8Array {
    const slab = shared ? Buffer.from(new SharedArrayBuffer(slabBytes)) : Buffer.allocUnsafeSlow(slabBytes);
    forgotten.register(slab.buffer, undefined);
    made++;
    return slab;
  }

  return {
    take() {
      if (idle.length === 0 && (made + 1) * slabBytes > maxBytes) return Buffer.allocUnsafeSlow(smallBytes);
      const slab = idle.pop() ?? make();
      lent.set(slab.buffer, slab);
      return slab;
    },
    give({ buffer }) {
      const slab = lent.get(buffer);
      if (!slab) return;
      lent.delete(buffer);
      if (!isClosed) idle.push(slab);
    },
    close() {
      isClosed = true;
    },
  };
}
