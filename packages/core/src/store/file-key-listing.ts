import type { Clock } from '../runtime/clock.ts';
import { walkKeyFiles } from './file-key-path.ts';
import type { Reading } from './file-names.ts';
import { keyOrder } from './metadata-key.ts';
import type { MetadataStore } from './metadata-store.ts';

/** Listings of a folder of keys. */
export interface KeyFileListing {
  /** By the rule of `MetadataStore.list`. */
  list: MetadataStore['list'];
  /** To be called once a key's file is in its place. */
  written(key: string): void;
}

/** A listing between two pages, or in the middle of one. */
interface Walk {
  prefix: string;
  keys: AsyncGenerator<string, void, undefined>;
  reading: Reading;
  /** What `keys` gave and no page had room for. */
  ahead: string | undefined;
  /** What was written since it began and may be behind where it has looked: as in {@link keyOrder}, ascending. */
  written: string[];
  /** Where its last page ended, as in {@link keyOrder}. */
  at: string;
  isLost: boolean;
}

/** How many wait for somebody to ask for their next page, and for how long. */
const mostWaiting = 4;
const longestWaitMs = 30_000;

/** With more writes than this a listing is begun anew. */
const mostWritten = 1_000;

/**
 * A system tells the names in a folder in no order, so that the first page of a listing reads all of them. It is kept
 * then, and the next page goes on with it: what a page costs does not grow with the folder.
 */
export function createKeyFileListing(directory: string, clock: Clock): KeyFileListing {
  const running = new Set<Walk>();
  const waiting = new Map<string, Walk>();
  let forget = (): void => undefined;

  function begin(prefix: string, after: string | undefined, signal: AbortSignal): Walk {
    const reading = { signal };
    const keys = walkKeyFiles(directory, prefix, { after, reading });
    return { prefix, keys, reading, ahead: undefined, written: [], at: keyOrder(after ?? ''), isLost: false };
  }

  const placeOf = (prefix: string, after: string) => `${prefix} ${after}`;

  function take(prefix: string, after: string | undefined, signal: AbortSignal): Walk {
    const place = placeOf(prefix, after ?? '');
    const found = after === undefined ? undefined : waiting.get(place);
    if (!found) return begin(prefix, after, signal);
    waiting.delete(place);
    found.reading.signal = signal;
    return found;
  }

  function keep(walk: Walk, last: string): void {
    if (walk.isLost) return;
    waiting.set(placeOf(walk.prefix, last), walk);
    const [oldest] = waiting.keys();
    if (waiting.size > mostWaiting && oldest !== undefined) waiting.delete(oldest);
    forget();
    forget = clock.after(longestWaitMs, () => waiting.clear());
  }

  async function next(walk: Walk): Promise<string | undefined> {
    walk.ahead ??= (await walk.keys.next()).value ?? undefined;
    const { ahead } = walk;
    const [written] = walk.written;
    if (written !== undefined && (ahead === undefined || written <= keyOrder(ahead))) {
      walk.written.shift();
      if (ahead !== undefined && written === keyOrder(ahead)) walk.ahead = undefined;
      walk.at = written;
      return written.replaceAll('\0', '/');
    }
    if (ahead === undefined) return undefined;
    walk.ahead = undefined;
    walk.at = keyOrder(ahead);
    return ahead;
  }

  function note(walk: Walk, key: string): void {
    const order = keyOrder(key);
    if (walk.isLost || order <= walk.at || !key.startsWith(walk.prefix)) return;
    const place = walk.written.findIndex((other) => other >= order);
    if (place >= 0 && walk.written[place] === order) return;
    walk.written.splice(place < 0 ? walk.written.length : place, 0, order);
    walk.isLost = walk.written.length > mostWritten;
  }

  return {
    async list(prefix, { after, limit, signal }) {
      if (limit <= 0) return [];
      const walk = take(prefix, after, signal);
      running.add(walk);
      const keys: string[] = [];
      try {
        while (keys.length < limit) {
          const key = await next(walk);
          if (key === undefined) return keys;
          keys.push(key);
        }
        keep(walk, keys.at(-1) ?? '');
        return keys;
      } finally {
        running.delete(walk);
      }
    },
    written(key) {
      for (const walk of running) note(walk, key);
      for (const [place, walk] of waiting) {
        note(walk, key);
        if (walk.isLost) waiting.delete(place);
      }
    },
  };
}
