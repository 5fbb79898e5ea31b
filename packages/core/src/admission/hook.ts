import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { ParsedManifest } from '../oci/manifest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import type { Duration } from '../runtime/duration.ts';
import type { AccessRequest, Identity } from './asker.ts';

/**
 * What {@link Admit} judges: a manifest that is here and verified. A decision is kept for others who ask, apart by what of
 * `identity`, `reference`, `parents` and `request` the hook has read: one that reads none of them holds for everybody, one
 * that reads `request` for nobody else.
 */
export interface AdmissionContext {
  /** The upstream's key. */
  readonly upstream: string;
  /** The repository at the upstream: `library/alpine`. */
  readonly repository: string;
  /** As it was asked for; a manifest that is judged for the sake of its blobs, by digest. */
  readonly reference: TagOrDigest;
  readonly descriptor: Descriptor;
  readonly manifest: ParsedManifest;
  readonly annotations: Readonly<Record<string, string>>;
  /** Indexes that list it, were asked for in this repository, and are admitted. */
  readonly parents: readonly Digest[];
  /**
   * When this cache first saw it in this repository, itself or in an index, in ms since the epoch; kept with the storage.
   *
   * @throws ProxyCacheError `admission-failed` where that cannot be read or written down
   */
  readonly firstSeenAt: number;
  /** Ms since the epoch. */
  readonly now: number;
  /** Who asks; `undefined`: nobody that is known. */
  readonly identity: Identity | undefined;
  readonly request: AccessRequest | undefined;
  /** Fires when the hook's time is up, or nobody waits for it any more. */
  readonly signal: AbortSignal;
  /** Its config, verified; `undefined` for an index, and what else has none. Fetched where it is not here. 4 MiB at most. */
  config(): Promise<Uint8Array | undefined>;
  /** What refers to it, such as signatures: descriptors with artifactType and annotations, by the cache's own list. */
  referrers(): Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** Another manifest of its repository, verified: of a signature, say. It is not judged. */
  fetchManifest(reference: TagOrDigest): Promise<{ descriptor: Descriptor; bytes: Uint8Array }>;
  /** A blob of its repository, verified. 4 MiB at most. */
  fetchBlob(digest: Digest): Promise<Uint8Array>;
}

/**
 * What a hook decides; reasons are told to the client.
 *
 * - `allow`: for `decisionFor`, or until an instant.
 * - `deny`: judged anew after `decisionFor`.
 * - `holdUntil`: refused until then (ms since the epoch), and judged anew.
 */
export type AdmissionDecision =
  | { allow: true; until?: number }
  | { deny: true; reason: string }
  | { holdUntil: number; reason?: string };

/** Decides whether a manifest may pass, before its first byte does. Whatever it throws refuses the request with 503. */
export type Admit = (context: AdmissionContext) => AdmissionDecision | Promise<AdmissionDecision>;

/** What may pass, by more than its name. */
export interface AdmissionOptions {
  /** A policy of yours, or a ready-made one such as {@link minimumAge}; several by {@link allOf}. */
  admit: Admit;
  /** Keys of the upstreams whose content is judged. Default: all of them. */
  upstreams?: readonly string[];
  /** The policy's version: with another one all is judged anew. Default: it never changes while the process lives. */
  version?: string | (() => string);
  /** How long a hook may take, with all it fetches. Default 10 s. */
  within?: Duration;
  /** How long a decision holds that does not say so itself. Default 5 m. */
  decisionFor?: Duration;
}

/** {@link AdmissionOptions} with every default filled in. */
export type AdmissionSettings = Required<Omit<AdmissionOptions, 'upstreams'>> & Pick<AdmissionOptions, 'upstreams'>;
