import { keyOf } from '../catalog/keys.ts';
import type { Place } from '../catalog/place.ts';
import { encodeRecord } from '../catalog/record-codec.ts';
import type { RecordsParts } from '../catalog/records.ts';
import { readStored } from '../catalog/stored-record.ts';
import type { Digest } from '../oci/digest.ts';
import { createFlights } from '../runtime/collapse.ts';
import { createRecent } from '../runtime/recent.ts';

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
  const held = createRecent<string, number>(mostHeld);
  const flights = createFlights<number>();

  async function settle(key: string, signal: AbortSignal): Promise<number> {
    for (let tries = 0; tries < mostTries; tries++) {
      const stored = await readStored<SeenRecord>(parts, key, signal);
      const now = clock.now();
      const { at, writtenAt = 0 } = stored.record ?? {};
      if (typeof at === 'number' && now - writtenAt < keptForMs / 2) return at;
      // One that cannot be read begins anew: it makes the manifest younger than it is, never older.
      const record: SeenRecord = { at: typeof at === 'number' ? at : now, writtenAt: now };
      const how = { ...stored.condition, expiresAt: now + keptForMs, signal };
      if (await metadata.set(key, encodeRecord(record), how)) return record.at;
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
