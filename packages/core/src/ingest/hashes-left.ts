import type { HashedPrefix } from './content-hash.ts';
import type { Ring } from './ring.ts';

/** What is known of the first bytes of a transfer that was abandoned. */
export interface HashesLeft {
  settled: HashedPrefix;
  /** Up to where each reader was that was further. */
  at: ReadonlyMap<number, HashedPrefix>;
}

/**
 * What readers beyond `settled` were given, hashed up to where each of them is: they go on from there without what is in
 * memory, which is freed then, however slow they are.
 *
 * @param ring has all from `settled` on
 */
export function hashesAt(settled: HashedPrefix, positions: Iterable<() => number>, ring: Ring): HashesLeft {
  const at = new Map<number, HashedPrefix>();
  const hash = settled.hash.copy();
  let length = settled.length;
  for (const position of [...positions].map((where) => where()).sort((a, b) => a - b)) {
    for (let chunk = ring.at(length); chunk && length < position; chunk = ring.at(length)) {
      const taken = chunk.bytes.subarray(0, position - length);
      hash.update(taken, chunk.memory);
      length += taken.byteLength;
    }
    // One that waits for what has not come was given nothing.
    if (length === position) at.set(position, { length, hash: hash.copy() });
  }
  hash.free();
  return { settled, at };
}
