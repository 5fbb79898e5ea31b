import type { Slabs } from '../runtime/slabs.ts';
import type { LentSlab } from './lane-messages.ts';

/** Memory that another thread lends for bodies; past it there is some of this thread's own. */
export interface BorrowedSlabs extends Slabs {
  lend(slabs: readonly LentSlab[]): void;
  /** Hands a piece on with its memory. @returns its slab's number; none where the piece is not in one */
  pass(piece: Uint8Array): number | undefined;
  /** Hands back what waits to be taken. */
  handBack(): number[];
  /** How many were lent and not handed on or back. */
  held(): number;
}

/** @param given called when a slab comes back from who took it */
export function createBorrowedSlabs({ given, ownBytes }: { given(): void; ownBytes(): number }): BorrowedSlabs {
  const known = new Map<number, Uint8Array>();
  const ids = new Map<ArrayBufferLike, number>();
  const free: number[] = [];
  const taken = new Set<number>();

  return {
    lend(slabs) {
      for (const { id, memory } of slabs) {
        if (memory) {
          known.set(id, Buffer.from(memory));
          ids.set(memory, id);
        }
        free.push(id);
      }
    },
    take() {
      const id = free.pop();
      const slab = id === undefined ? undefined : known.get(id);
      if (id === undefined || !slab) return Buffer.allocUnsafeSlow(ownBytes());
      taken.add(id);
      return slab;
    },
    give({ buffer }) {
      const id = ids.get(buffer);
      if (id === undefined || !taken.delete(id)) return;
      free.push(id);
      given();
    },
    pass({ buffer }) {
      const id = ids.get(buffer);
      return id !== undefined && taken.delete(id) ? id : undefined;
    },
    handBack: () => free.splice(0),
    held: () => free.length + taken.size,
  };
}
