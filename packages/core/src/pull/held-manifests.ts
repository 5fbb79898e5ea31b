import type { Link } from '../catalog/links.ts';
import type { TagRecord } from '../catalog/tag-records.ts';
import { type Decision, decideLasting, type LastingDecision } from '../freshness/decide.ts';
import type { FreshnessRules } from '../freshness/rules.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import type { CacheStatus, ManifestAnswer } from './answer.ts';
import type { PullParts } from './pull-parts.ts';
import { lookupTag, mayLose } from './stored-tag.ts';
import type { Target } from './target.ts';

/**
 * Looks whether a manifest can be answered without anything being read, written or asked, at an instant (wall time in ms
 * since the epoch), and may be kept to look again. `undefined` says nothing: it is to be pulled. What it gives is what a
 * pull would give; while nothing has changed it is the same object.
 *
 * @param want its bytes (GET), or what it is (HEAD)
 */
export type HeldManifest = (want: 'bytes' | 'descriptor', now: number) => ManifestAnswer | undefined;

/** Manifests in memory. */
export type HeldManifests = (target: Target, reference: TagOrDigest) => HeldManifest;

export function createHeldManifests(parts: Pick<PullParts, 'tags' | 'links' | 'manifests'>): HeldManifests {
  return (target, reference) => {
    const tag = reference.kind === 'tag' ? reference.tag : undefined;
    // Whoever handles it looks first whose answer it would be.
    if (target.upstream.callerOf) return () => undefined;
    // Told by whoever handles it.
    if (target.upstream.names?.reasonAgainst(target.place.repository, tag) !== undefined) return () => undefined;
    return reference.kind === 'digest'
      ? byDigest(parts, target, reference.digest)
      : byTag(parts, target, reference.tag);
  };
}

type Parts = Parameters<typeof createHeldManifests>[0];

function byDigest({ links, manifests }: Parts, target: Target, digest: Digest): HeldManifest {
  const findLink = links.lookup(target.place, 'manifest', digest);
  // Not to be what keeps the bytes in memory: that has a limit of its own.
  const answers = new WeakMap<Uint8Array, { link: Link; answer: ManifestAnswer }>();
  return () => {
    const link = findLink();
    if (link?.typeUnchecked) return undefined;
    const bytes = link && manifests.held(digest);
    if (!link || !bytes) return undefined;
    const last = answers.get(bytes);
    if (last?.link === link) return last.answer;
    const answer = answerByDigest(link, digest, bytes);
    answers.set(bytes, { link, answer });
    return answer;
  };
}

function byTag(parts: Parts, target: Target, tag: string): HeldManifest {
  const findRecord = lookupTag(parts, { target, tag });
  const answers = new WeakMap<Uint8Array | Descriptor, ManifestAnswer>();
  // A record is never changed, only replaced.
  let last: (LastingDecision<Descriptor> & { record: TagRecord; rules: FreshnessRules }) | undefined;

  function decided(record: TagRecord, now: number): Decision<Descriptor> {
    const { rules } = target.upstream;
    if (last?.record !== record || last.rules !== rules || !(now >= last.from && now < last.until)) {
      last = { ...decideLasting(record, rules, now), record, rules };
    }
    return last.decision;
  }

  return (want, now) => {
    const record = findRecord();
    if (!record) return undefined;
    const decision = decided(record, now);
    // What is served stale comes with a warning, or is asked about behind the answer.
    if (decision.kind !== 'serve' || decision.stale !== undefined) return undefined;
    // SEMANTICS 12: which of two images is served then takes a look at what is stored of them.
    if (mayLose(record, target)) return undefined;
    const { value, validatedAt } = decision;
    const bytes = want === 'bytes' ? parts.manifests.held(value.digest) : undefined;
    if (want === 'bytes' && !bytes) return undefined;
    const before = answers.get(bytes ?? value);
    if (before?.descriptor === value && before.validatedAt === validatedAt) return before;
    const answer = answerByTag({ value, validatedAt, bytes }, { hit: true });
    answers.set(bytes ?? value, answer);
    return answer;
  };
}

/** What is stored under a digest, for a repository that proved to hold it. */
export function answerByDigest(link: Link, digest: Digest, bytes: Uint8Array): ManifestAnswer {
  const descriptor = { mediaType: link.mediaType, digest, size: bytes.byteLength };
  return { descriptor, bytes, byTag: false, cacheStatus: { hit: true } };
}

/** What a tag stands for. @param served.bytes only where they are wanted */
export function answerByTag(
  served: { value: Descriptor; validatedAt: number; bytes?: Uint8Array | undefined; warning?: string | undefined },
  cacheStatus: CacheStatus,
): ManifestAnswer {
  const { value: descriptor, validatedAt, bytes, warning } = served;
  return {
    descriptor,
    ...(bytes !== undefined && { bytes }),
    byTag: true,
    validatedAt,
    ...(warning !== undefined && { warning }),
    cacheStatus,
  };
}
