import { LRUCache } from 'lru-cache';

/**
 * What was used last, at most so many. It takes memory as it is filled: what is bounded by `max` alone takes all of it at
 * once, 27 bytes for each that there may be, and is left to the garbage collector as one large array.
 *
 * @param size of what differs in that: about how many bytes they may take together, of which each takes its equal share at
 * least. Default: they are counted alone
 */
export function createRecent<K extends string, V extends NonNullable<unknown>>(
  most: number,
  size?: { maxBytes: number; bytesOf(value: V): number },
): LRUCache<K, V> {
  if (!size) return new LRUCache<K, V>({ maxSize: most, sizeCalculation: () => 1 });
  // It takes no 0; of one byte nothing can be kept either.
  const maxSize = Math.max(Math.floor(size.maxBytes), 1);
  const share = Math.ceil(maxSize / most);
  return new LRUCache<K, V>({ maxSize, sizeCalculation: (value) => Math.max(size.bytesOf(value), share) });
}
