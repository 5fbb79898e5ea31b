import { keyOf } from '../catalog/keys.ts';
import type { Place } from '../catalog/place.ts';
import { createRecords, type RecordsParts } from '../catalog/records.ts';
import type { Digest } from '../oci/digest.ts';
import type { ParsedManifest } from '../oci/manifest.ts';
import { type Sightings, sightingBy, withSighting } from './sightings.ts';

/** What is known of a manifest's or blob's parents in a repository. */
export interface ParentsRecord {
  /** Manifests that name it and were asked for: those that were admitted first, of them the newest first. */
  manifests: readonly Digest[];
  /** When the first of them was, in ms since the epoch. */
  since?: number;
  /** The other {@link Sightings} of that, where there are any. */
  laterSince?: readonly number[];
  /** Whether it was itself asked for by a tag. */
  tagged?: true;
  /** Whether it is a manifest: one that was asked for, or that an index lists as one. */
  isManifest?: true;
  /** When one of all that was last noted, within an hour, in ms since the epoch: by it retention tells what is left over. */
  notedAt?: number;
}

/** Which manifests name a manifest or a blob, as far as they were asked for: each repository for itself. */
export interface Parents {
  of(place: Place, child: Digest, signal: AbortSignal): Promise<ParentsRecord | undefined>;
  /**
   * Notes that a manifest was asked for, and so what it names. Here at once; in the store, for other processes, when the
   * promise resolves. Never rejects.
   */
  note(place: Place, asked: AskedManifest): Promise<void>;
  settled(): Promise<void>;
}

/** A manifest that was asked for. */
export interface AskedManifest {
  digest: Digest;
  manifest: Pick<ParsedManifest, 'children' | 'blobs'>;
  byTag: boolean;
  /** One that was not admitted never takes the place of one that was. */
  isAdmitted: boolean;
}

/** What keys of these records begin with. */
const parentsKind = 'parents';

const mostHeld = 50_000;
/** Of them, in memory: one with all its parents takes some ten kilobytes. */
const mostHeldBytes = 32 * 1024 * 1024;
/** A layer that thousands of images share needs one of them that is admitted. */
const mostParents = 64;
/** A manifest may name tens of thousands of others: more than any image has are not noted. */
const mostNamed = 10_000;
const atOnce = 32;
/** A record may have been removed, by another process too, that memory still has: so often it is written anew. */
const notedForMs = 3_600_000;

export function createParents(parts: RecordsParts): Parents {
  const records = createRecords<ParentsRecord>(parts, mostHeld, { maxBytes: mostHeldBytes });
  const keyFor = ({ upstream, scope, repository }: Place, child: Digest) =>
    keyOf(parentsKind, upstream, scope, repository, child);

  return {
    of: (place, child, signal) => records.get(keyFor(place, child), signal),
    async note(place, { digest, manifest, byTag, isAdmitted }) {
      const now = parts.clock.now();
      const noted: Promise<void>[] = [];
      noted.push(records.update(keyFor(place, digest), (known) => asked(known, { byTag, now })));
      const children = new Set(manifest.children.map((child) => child.digest));
      const named = new Set([...children, ...manifest.blobs.map((blob) => blob.digest)]);
      for (const child of [...named].slice(0, mostNamed)) {
        const parent = { digest, isAdmitted, now, isOfManifest: children.has(child) };
        noted.push(records.update(keyFor(place, child), (known) => withParent(known, parent)));
        if (noted.length >= atOnce) await Promise.all(noted.splice(0));
      }
      await Promise.all(noted);
    },
    settled: records.settled,
  };
}

/** When the first manifest that names it was asked for, in ms since the epoch; `undefined`: none was. */
export function namedAt(known: ParentsRecord | undefined, now: number): number | undefined {
  const sightings = sightingsOf(known);
  return sightings && (sightingBy(sightings, now) ?? now);
}

function sightingsOf({ since, laterSince = [] }: Partial<ParentsRecord> = {}): Sightings | undefined {
  return since === undefined ? undefined : [since, ...laterSince];
}

/** A manifest that names something. `isOfManifest`: as a manifest, and not as a blob. */
type NotedParent = { digest: Digest; isAdmitted: boolean; now: number; isOfManifest: boolean };

function asked(
  known: ParentsRecord | undefined,
  { byTag, now }: { byTag: boolean; now: number },
): ParentsRecord | undefined {
  if (known?.isManifest && (known.tagged || !byTag) && isNoted(known, now)) return undefined;
  return { manifests: [], ...known, isManifest: true, ...(byTag && { tagged: true }), notedAt: now };
}

function withParent(
  known: ParentsRecord | undefined,
  { digest, isAdmitted, now, isOfManifest }: NotedParent,
): ParentsRecord | undefined {
  const before = known?.manifests ?? [];
  const isKnown = before.includes(digest);
  if (isKnown && isNoted(known, now) && (known?.isManifest || !isOfManifest)) return undefined;
  const [since, ...laterSince] = withSighting(sightingsOf(known) ?? [now], now);
  const noted = {
    ...known,
    ...(isOfManifest && { isManifest: true as const }),
    since,
    ...(laterSince.length > 0 && { laterSince }),
    notedAt: now,
  };
  if (isKnown || (!isAdmitted && before.length >= mostParents)) return { ...noted, manifests: before };
  return { ...noted, manifests: (isAdmitted ? [digest, ...before] : [...before, digest]).slice(0, mostParents) };
}

function isNoted(known: ParentsRecord | undefined, now: number): boolean {
  const age = now - (known?.notedAt ?? Number.NEGATIVE_INFINITY);
  return age >= 0 && age < notedForMs;
}
