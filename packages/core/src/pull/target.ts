import type { NameRules } from '../admission/name-rules.ts';
import type { Place } from '../catalog/place.ts';
import type { FreshnessRules } from '../freshness/rules.ts';
import type { SegmentLink } from '../ingest/segment-link.ts';
import type { BasicCredential, Caller } from '../upstream/caller.ts';
import type { Identity } from '../upstream/identity.ts';
import type { UpstreamMode } from '../upstream/mode.ts';
import type { Query, Upstream } from '../upstream/upstream.ts';
import type { Passages } from './passages.ts';

/** An upstream and the rules by which its content is pulled. Durations in ms. */
export interface PullUpstream {
  key: string;
  client: Upstream;
  /** How it is used now; it may be switched at any time. */
  readonly mode: UpstreamMode;
  /** Whether one-component names mean `library/<name>` there. */
  library: boolean;
  /** Those of its mode. */
  readonly rules: FreshnessRules;
  /** `undefined`: nothing is refused by its name. */
  names: NameRules | undefined;
  /** Whom it is asked as. See {@link Place.generation}. */
  identity: Identity;
  manifestWithinMs: number;
  blobWithinMs: number;
  resumeWithinMs: number;
  validateWithinMs: number;
  linkValidForMs: number;
  /** Whether expired proofs are good enough while it fails. */
  serveUnproven: boolean;
  /** Whether it is asked as somebody, by a credential or a certificate. */
  hasCredential: boolean;
  /** Whose credential it is asked with: each caller's own. `undefined`: its own, for all. */
  callerOf: ((credential: BasicCredential) => Caller) | undefined;
  /** The largest blob that is asked for. */
  maxBlobBytes: number;
  coldRange: 'pass' | 'verify';
  passages: Passages;
  /** How many blobs are fetched ahead at a time; 0: none. */
  prefetches: number;
  /** The link that its blobs' segments share, where it has them. */
  segments: SegmentLink | undefined;
}

/** The repository a request is about, at the upstream it comes from. */
export interface Target {
  upstream: PullUpstream;
  place: Place;
  /** Who asks, of an upstream that is asked with its callers' credentials. Whatever is done for the target holds it. */
  caller?: Caller;
}

/** A repository of an upstream, seen with the upstream's own credential. */
export function targetOf(upstream: PullUpstream, repository: string): Target {
  const { key, identity } = upstream;
  const generation = identity.generation();
  return { upstream, place: { upstream: key, scope: '-', repository, generation, term: identity.term() } };
}

/** Whether it is seen with the identity of now, under which what was proved before may not hold. */
export function isOfNow({ upstream, place }: Target): boolean {
  return place.generation === upstream.identity.generation() && !place.term?.isOver;
}

/** The same as a caller sees it: what others were told there says nothing here. */
export function asCaller({ upstream, place }: Target, caller: Caller): Target {
  return { upstream, place: { ...place, scope: caller.scope }, caller };
}

/** The same with another time for its manifests and lists. */
export function withManifestWithin(target: Target, ms: number): Target {
  return { ...target, upstream: { ...target.upstream, manifestWithinMs: ms } };
}

/** What a request to the target's upstream carries. @param now `clock.monotonic()` */
export function queryOf(
  target: Target,
  now: number,
  { ms, ...how }: { ms: number; signal: AbortSignal; sparesQuota?: boolean },
): Query {
  const { repository, scope } = target.place;
  return { repository, scope, caller: target.caller, deadlineAt: now + ms, ...how };
}

/** The target as one text, for keys of what is shared between requests. */
export function targetKey({ place }: Target): string {
  // What was asked of another URL, or with another identity, says nothing here.
  return `${place.upstream} ${place.generation} ${place.term?.number ?? 0} ${place.scope} ${place.repository}`;
}
