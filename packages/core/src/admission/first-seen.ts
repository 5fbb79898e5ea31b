import { LRUCache } from 'lru-cache';
import { keyOf } from '../catalog/keys.ts';
import type { Place } from '../catalog/place.ts';
import { encodeRecord } from '../catalog/record-codec.ts';
import type { RecordsParts } from '../catalog/records.ts';
import { readStored } from '../catalog/stored-record.ts';
import type { Digest } from '../oci/digest.ts';
import { createFlights } from '../runtime/collapse.ts';

/** When manifests were first seen, each in its repository. */
export interface FirstSeen {
  /**
   * When it was first seen, in ms since the epoch: now, where nobody has seen it before. Whichever process writes it down
   * first is right for all of them.
   *
   * @throws what the store throws: an age that is not known is not to be guessed; the signal's reason
   */
  of(place: Place, digest: Digest, signal: AbortSignal): Promise<number>;
}

interface SeenRecord {
  /** Ms since the epoch. */
  at: number;
}

const mostHeld = 20_000;
const mostTries = 4;

/** What keys of these records begin with. */
const seenKind = 'seen';

export function createFirstSeen(parts: RecordsParts): FirstSeen {
  const { metadata, clock } = parts;
  const held = new LRUCache<string, number>({ max: mostHeld });
  const flights = createFlights<number>();

  async function settle(key: string, signal: AbortSignal): Promise<number> {
    for (let tries = 0; tries < mostTries; tries++) {
      const stored = await readStored<SeenRecord>(parts, key, signal);
      const at = stored.record?.at;
      if (typeof at === 'number') return at;
      const now = clock.now();
      // One that cannot be read begins anew: it makes the manifest younger than it is, never older.
      if (await metadata.set(key, encodeRecord({ at: now }), { ...stored.condition, signal })) return now;
    }
    throw new Error(`given up after ${mostTries} conflicting writes`);
  }

  return {
    async of({ upstream, scope, repository }, digest, signal) {
      const key = keyOf(seenKind, upstream, scope, repository, digest);
      const known = held.get(key);
      if (known !== undefined) return known;
      const at = await flights.join(key, (signalOfAll) => settle(key, signalOfAll), signal);
      held.set(key, at);
      return at;
    },
  };
}
