import { keyOf } from '../catalog/keys.ts';
import type { Place } from '../catalog/place.ts';
import { encodeRecord } from '../catalog/record-codec.ts';
import type { RecordsParts } from '../catalog/records.ts';
import { readStored } from '../catalog/stored-record.ts';
import type { Digest } from '../oci/digest.ts';
import { createFlights } from '../runtime/collapse.ts';
import { createRecent } from '../runtime/recent.ts';
import { type Sightings, sightingBy, withSighting } from './sightings.ts';

/** When manifests were first seen, each in its repository. */
export interface FirstSeen {
  /**
   * When it was first seen, in ms since the epoch: now, where nobody has seen it before, or only by a clock that was ahead.
   * Whichever process writes it down first is right for all of them.
   *
   * @throws what the store throws: an age that is not known is not to be guessed; the signal's reason
   */
  of(place: Place, digest: Digest, signal: AbortSignal): Promise<number>;
}

interface SeenRecord {
  /** Ms since the epoch. */
  at: number;
  /** The other {@link Sightings}, where there are any. */
  laterAt?: readonly number[];
  /** When it was last written, in ms since the epoch. */
  writtenAt: number;
}

const mostHeld = 20_000;
const mostTries = 4;
/** Far longer than content stays that nobody pulls: what comes back is as old as it was. */
const keptForMs = 365 * 86_400_000;

/** What keys of these records begin with. */
const seenKind = 'seen';

export function createFirstSeen(parts: RecordsParts): FirstSeen {
  const { metadata, clock } = parts;
  const held = createRecent<string, Sightings>(mostHeld);
  const flights = createFlights<Sightings>();

  async function settle(key: string, signal: AbortSignal): Promise<Sightings> {
    for (let tries = 0; tries < mostTries; tries++) {
      const stored = await readStored<SeenRecord>(parts, key, signal);
      const now = clock.now();
      const { at, laterAt: later = [], writtenAt = 0 } = stored.record ?? {};
      const known: Sightings | undefined = typeof at === 'number' ? [at, ...later] : undefined;
      // One that cannot be read begins anew: it makes the manifest younger than it is, never older.
      const sightings = known ? withSighting(known, now) : ([now] as const);
      const age = now - writtenAt;
      if (sightings === known && age >= 0 && age < keptForMs / 2) return sightings;
      const [first, ...laterAt] = sightings;
      const record: SeenRecord = { at: first, ...(laterAt.length > 0 && { laterAt }), writtenAt: now };
      // By the latest, as now may be what a clock says that is behind.
      const how = { ...stored.condition, expiresAt: Math.max(now, ...laterAt) + keptForMs, signal };
      if (await metadata.set(key, encodeRecord(record), how)) return sightings;
    }
    throw new Error(`given up after ${mostTries} conflicting writes`);
  }

  return {
    async of({ upstream, scope, repository }, digest, signal) {
      const key = keyOf(seenKind, upstream, scope, repository, digest);
      const known = held.get(key);
      const at = known && sightingBy(known, clock.now());
      if (at !== undefined) return at;
      const sightings = await flights.join(key, (signalOfAll) => settle(key, signalOfAll), signal);
      held.set(key, sightings);
      const now = clock.now();
      return sightingBy(sightings, now) ?? now;
    },
  };
}
