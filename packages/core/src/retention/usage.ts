import { keyOf } from '../catalog/keys.ts';
import type { RecordsParts } from '../catalog/records.ts';
import { createRecent } from '../runtime/recent.ts';
import { createUnsavedUses } from './unsaved-uses.ts';
import { nameOf, type Use, type Used, useKey } from './use.ts';
import { createUseRecords } from './use-records.ts';

/** When what is stored was last used. In memory at once, in the store within a minute. */
export interface Usage {
  /** The {@link Use} of something. */
  of(used: Used): Use;
  /** @param now wall time in ms since the epoch */
  note(use: Use, now: number): void;
  /** When something was last used as far as memory knows, which may have forgotten it. */
  held(used: Used): number | undefined;
  /**
   * When each was last used, in their order, by whichever process: the later of memory and store; `undefined`: not known.
   * What another process wrote of a thing that it uses all the time may be up to five minutes late.
   *
   * @throws what the store throws
   */
  lastUsed(asked: readonly Used[], signal: AbortSignal): Promise<(number | undefined)[]>;
  /**
   * Forgets what goes, unless it was used after that: after what {@link lastUsed} said, or when it was asked, whichever is
   * later.
   *
   * @returns whether it was not
   * @throws what the store throws
   */
  forget(used: Used, options: { unlessUsedAfter: number; signal: AbortSignal }): Promise<boolean>;
  /**
   * Since when uses are noted in this storage; from now on, where nobody asked before. What is not known to have been used
   * may have been, until then.
   *
   * @throws what the store throws
   */
  since(signal: AbortSignal): Promise<number>;
  /** Resolves when all is in the store, or given up: what a failing store does not take is tried once more. */
  settled(): Promise<void>;
}

// Some 300 bytes each.
const mostUses = 50_000;

const sinceKey = keyOf('use-since', 'all');

const never = Number.NEGATIVE_INFINITY;

/**
 * Notes uses in memory, and brings them to the store together: what it is asked to write grows with the things that are
 * used, not with how often they are. A store that is away is tried again; of too many that wait for it the oldest are given up.
 */
export function createUsage(parts: RecordsParts): Usage {
  const { clock } = parts;
  const records = createUseRecords(parts);
  const uses = createRecent<string, Use>(mostUses);
  const unsaved = createUnsavedUses({ ...parts, records, most: mostUses });

  const find = (name: string) => uses.get(name) ?? unsaved.get(name);

  return {
    of(used) {
      const name = nameOf(used);
      const known = find(name);
      if (known) return known;
      const { place, kind, tagOrDigest } = used;
      const { upstream, scope, repository } = place;
      const own = { place: { upstream, scope, repository }, kind, tagOrDigest };
      const use: Use = { used: own, at: never, savedAt: never, wroteAt: never, waits: false };
      uses.set(name, use);
      return use;
    },
    note(use, now) {
      if (now > use.at) use.at = now;
      if (!use.waits && use.at > use.savedAt) unsaved.add(use);
    },
    held(used) {
      const at = find(nameOf(used))?.at;
      return at === never ? undefined : at;
    },
    async lastUsed(asked, signal) {
      const stored = await records.read(asked.map(useKey), signal);
      return asked.map((used, index) => {
        const [at, use] = [stored[index], find(nameOf(used))];
        if (!use || use.at === never) return at;
        return at === undefined || at === use.wroteAt ? use.at : Math.max(at, use.at);
      });
    },
    async forget(used, { unlessUsedAfter, signal }) {
      const name = nameOf(used);
      const isUsed = () => (find(name)?.at ?? never) > unlessUsedAfter;
      // What this process wrote ahead tells of no use that it does not know.
      const until = Math.max(unlessUsedAfter, find(name)?.wroteAt ?? never);
      if (isUsed() || !(await records.remove(useKey(used), until, signal)) || isUsed()) return false;
      const use = find(name);
      if (!use) return true;
      unsaved.remove(use);
      Object.assign(use, { at: never, savedAt: never, wroteAt: never });
      return true;
    },
    since: (signal) => records.first(sinceKey, clock.now(), signal),
    settled: unsaved.settled,
  };
}
