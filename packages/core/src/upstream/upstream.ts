import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import type { Bytes } from '../runtime/bytes.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { BreakerState } from './breaker.ts';
import type { Caller } from './caller.ts';
import type { UpstreamMode } from './mode.ts';
import type { QuotaReading } from './quota.ts';
import type { SaidOfBlob } from './said-of-blob.ts';

/**
 * What an upstream said. What it could not say (no connection, timeout, 5xx, 429, a foreign body) is thrown as an
 * `UpstreamError`, because it changes no record.
 */
export type Reply<T> =
  | { kind: 'found'; value: T }
  | { kind: 'not-modified' }
  /** 404 in the registry's own voice. `code` and `message` are from its OCI error body, where it has one. */
  | { kind: 'absent'; code: string; message: string }
  /** 401, 403 or another 4xx in the registry's voice, after a retry with a fresh token. */
  | { kind: 'denied'; status: number; message: string };

/** What every request to an upstream carries. */
export interface Query {
  /** The repository's name at the upstream. */
  repository: string;
  /** The credential scope: `'-'` for the upstream's own credential. Part of every link, token and collapse key. */
  scope: string;
  /** Whose credential is to be used in place of the upstream's own; its `scope` is that of the query. */
  caller?: Caller | undefined;
  /** `clock.monotonic()` ms by which the answer must be here: a blob's first byte, all of any other. */
  deadlineAt: number;
  /**
   * Whether a copy is stored that can be answered with. Then what counts against a quota (a manifest's GET) is refused as
   * `rate-limited` while the upstream has less of it left than `rateLimit.reserve`. Default false.
   */
  sparesQuota?: boolean;
  signal: AbortSignal;
}

/** A page of a list: at most `n` entries after `last`. `cursor` is the upstream's own, from the page before. */
export interface PageQuery {
  n?: number;
  last?: string;
  cursor?: string;
}

/** A manifest's verified bytes. */
export interface FetchedManifest {
  descriptor: Descriptor;
  bytes: Uint8Array;
}

/**
 * A blob on its way, from byte `start` on. Whoever got it reads `body` or returns from it. Beyond what {@link Bytes} asks,
 * its chunks are the reader's to keep: a transfer shares them with all who follow it.
 */
export interface FetchedBlob {
  start: number;
  /** Size of the whole blob, where the upstream says it. */
  total?: number;
  /** A strong validator for `ifMatch`. */
  validator?: string;
  body: Bytes;
}

/** An upstream's page of tags; `next` is the cursor of the page after it. */
export interface TagPage {
  tags: readonly string[];
  next?: string;
}

/** What refers to a subject, unfiltered (OCI distribution-spec, listing referrers). */
export interface Referrers {
  /** Descriptors as the upstream gave them, with their artifactType and annotations. */
  manifests: readonly Readonly<Record<string, unknown>>[];
}

/** A host of an upstream: the registry itself, its token service, or one that a redirect led to. */
export interface HostStatus {
  /** Host and port. */
  host: string;
  /**
   * `open`: it failed again and again and is not asked; `half-open`: one request at a time tries whether it is back;
   * `closed`: it is asked, also where it failed and nobody asked for long.
   */
  state: BreakerState;
  /** How often in a row it failed. */
  failures: number;
  /** Until when it is not asked, in ms since the epoch, where it is `open`. */
  retryAt?: number;
  /** Whether that one request is under way, where it is `half-open`. */
  isProbed?: true;
}

/** How an upstream is doing. */
export interface UpstreamStatus {
  /** The upstream's key. */
  key: string;
  /** How it is used now. */
  mode: UpstreamMode;
  /** The registry's own host: stored content is served at once while it is not `closed`. */
  state: BreakerState;
  /** Until when it is not asked, in ms since the epoch, where it is `open`. */
  retryAt?: number;
  /** The hosts that were asked lately. */
  hosts: readonly HostStatus[];
  /** What it said is left of its rate limit, for its own credential, where it says so and lately has. */
  rateLimit?: QuotaReading;
  /** Until when some of its requests are not sent, because it answered them with 429, in ms since the epoch. */
  limitedUntil?: number;
}

/** One registry that content comes from. Failures throw `UpstreamError`. A query's signal ends its body, too. */
export interface Upstream {
  /**
   * HEAD of a tag; GET where HEAD cannot say, and then the bytes are kept. `known`: what it stood for before; a HEAD that
   * names the digest of that need say no more.
   */
  resolve(
    query: Query & { tag: string; known?: Descriptor | undefined },
  ): Promise<Reply<Descriptor & { bytes?: Uint8Array }>>;
  /** HEAD of a manifest by digest: does this repository have it? GET where HEAD cannot say. */
  statManifest(query: Query & { digest: Digest }): Promise<Reply<Descriptor>>;
  /**
   * GET of a manifest: bounded, and verified against its digest and media type.
   *
   * @throws ProxyCacheError `manifest-unsupported` where the image is there in schema version 1 only
   */
  fetchManifest(query: Query & { reference: TagOrDigest }): Promise<Reply<FetchedManifest>>;
  /** HEAD of a blob. */
  statBlob(query: Query & { digest: Digest }): Promise<Reply<SaidOfBlob>>;
  /**
   * GET of a blob from byte `from` on; the bytes are not verified here. `start` is 0 where the upstream ignores ranges;
   * where `total` is not above `start`, there is nothing at `from`. `ifMatch` is a wish: what has another validator is
   * asked for without it, because content is known by its digest. With `slabs` the chunks may be memory of theirs, which
   * passes to the reader with each chunk: whoever is done with one gives it back.
   */
  fetchBlob(
    query: Query & { digest: Digest; from: number; to?: number; ifMatch?: string; slabs?: Slabs },
  ): Promise<Reply<FetchedBlob>>;
  listTags(query: Query & PageQuery): Promise<Reply<TagPage>>;
  /** The referrers API, or the tag schema where the upstream has no such API. All pages. */
  listReferrers(query: Query & { digest: Digest }): Promise<Reply<Referrers>>;
  /** GET /v2/: is it there, is it a registry, does it take the credential? */
  ping(query: Omit<Query, 'repository'>): Promise<Reply<undefined>>;
  /**
   * Whether it answers, as far as is known, cheaply: what its own host is, and `open` while its mode is `'offline'`. `half-open`, too, while a token is needed and its
   * token service is not known to be up: the registry may name another by now.
   */
  state(query: Pick<Query, 'repository' | 'scope'>): BreakerState;
  /** How it is doing, from memory. */
  status(): UpstreamStatus;
  /** Ends connections. */
  close(): Promise<void>;
}
