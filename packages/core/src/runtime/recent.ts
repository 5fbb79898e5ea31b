import { LRUCache } from 'lru-cache';

/**
 * What was used last, at most so many. It takes memory as it is filled: what is bounded by `max` alone takes all of it at once,
 * which is a lot where each of thousands has one.
 */
export function createRecent<K extends string, V extends NonNullable<unknown>>(most: number): LRUCache<K, V> {
  return new LRUCache<K, V>({ maxSize: most, sizeCalculation: () => 1 });
}
