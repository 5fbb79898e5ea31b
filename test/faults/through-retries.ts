import { setImmediate } from 'node:timers/promises';
import type { CacheUnderTest } from '../semantics/cache-under-test.ts';

/** What the work comes to, with the clock moved on by each wait before a retry, and by nothing else. */
export async function throughRetries<T>(cache: CacheUnderTest, work: Promise<T>): Promise<T> {
  let over = false;
  const end = () => {
    over = true;
  };
  work.then(end, end);
  let waited = cache.seen('upstream-retried').length;
  while (!over) {
    await setImmediate();
    const next = cache.seen('upstream-retried')[waited];
    if (!next) continue;
    waited++;
    await cache.clock.advance(next.waitMs);
  }
  return await work;
}
