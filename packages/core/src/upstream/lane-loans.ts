import type { Slabs } from '../runtime/slabs.ts';
import type { LentSlab } from './lane-messages.ts';

/** The memory that a lane in another thread fills. */
export interface Loans {
  /** One more slab for it; none where no slab is left, or none that threads can share. */
  lend(slabs: Slabs): LentSlab | undefined;
  /** One that came back with bytes in it: its pieces are its reader's to give to where it came from. */
  redeem(id: number): Uint8Array;
  /** One that came back without. */
  giveBack(id: number): void;
  /** How many are out. */
  out(): number;
}

export function createLoans(): Loans {
  const out = new Map<number, { slab: Uint8Array; slabs: Slabs }>();
  // Slabs come again and again: by its number one is told of at half the cost.
  const ids = new WeakMap<SharedArrayBuffer, number>();
  let last = 0;

  function take(id: number): { slab: Uint8Array; slabs: Slabs } {
    const found = out.get(id);
    if (!found) throw new Error('memory came back that was not lent');
    out.delete(id);
    return found;
  }

  return {
    lend(slabs) {
      const slab = slabs.take();
      const memory = slab.buffer;
      if (!(memory instanceof SharedArrayBuffer)) {
        slabs.give(slab);
        return undefined;
      }
      const known = ids.get(memory);
      const id = known ?? ++last;
      if (known === undefined) ids.set(memory, id);
      out.set(id, { slab, slabs });
      return { id, ...(known === undefined && { memory }) };
    },
    redeem: (id) => take(id).slab,
    giveBack(id) {
      const { slab, slabs } = take(id);
      slabs.give(slab);
    },
    out: () => out.size,
  };
}
