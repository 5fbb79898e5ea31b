import type { ScrubOptions, ScrubReport } from './catalog/scrub.ts';
import type { CloseOptions } from './close-cache.ts';
import type { GroupControl } from './group/groups.ts';
import type { Handle } from './http/message.ts';
import type { ExportLayoutOptions, ImportLayoutOptions, ImportReport } from './layout/layout-report.ts';
import type { Observer } from './observers.ts';
import type { Descriptor } from './oci/descriptor.ts';
import type { Contents } from './pull/contents.ts';
import type { WarmOptions, WarmReport } from './pull/warm-report.ts';
import type { Purge, PurgeOptions, PurgeReport } from './retention/purge-report.ts';
import type { SweepReport } from './retention/sweep-report.ts';
import type { SweepOptions } from './retention/sweeps.ts';
import type { Roster } from './roster/roster.ts';
import type { UpstreamStatus } from './upstream/upstream.ts';
import type { CheckUpstream } from './upstream-checks.ts';

/** A pull-through cache. One per process and storage; adapters mount it. */
export interface ProxyCache {
  /**
   * Answers a request; `undefined`: not a `/v2/` path, the host goes on. Never rejects for what a client sent. What is in
   * memory its `fromMemory` answers without a promise.
   */
  handle: Handle;
  /**
   * The same for web requests: Hono, Next, Bun, tests. 404 for what is not ours. A body is to be read or cancelled: it is
   * closed, and fails, when nothing of it is read for 5 min.
   *
   * @param host.context for the hooks of `access`
   */
  fetch(request: Request, host?: { context?: unknown }): Promise<Response>;
  /**
   * Whether an image such as `docker-hub/library/alpine:3` would be pulled whole from here if its upstream failed now; of
   * an index, any one of its platforms. `false` for what `include` and `exclude` have refused.
   *
   * @throws ProxyCacheError for a reference that is none, `name-unknown`, `closed`
   */
  has(reference: string): Promise<boolean>;
  /** What a reference means now, by the rules of a pull (a HEAD's). @throws ProxyCacheError, UpstreamError */
  resolve(reference: string): Promise<Descriptor>;
  /**
   * Has an observer told each event from now on, as the option `observer` is. Returns what ends that.
   *
   * @throws ProxyCacheError `invalid-options`
   */
  observe(observer: Observer): () => void;
  /** The upstreams, in the order of the option and then of their keys: what can be changed of them while they are used. */
  upstreams: Roster & {
    /** How each of them is doing, from memory. */
    status(): readonly UpstreamStatus[];
    /**
     * Asks an upstream at `/v2/` whether it is there, is a registry and lets us in: once, with its credential, also where
     * pulls leave it alone as it failed; at most for 30 s. What it learns changes nothing that pulls go by.
     *
     * @param upstream its key, or the options of one that is none yet
     * @throws ProxyCacheError `name-unknown`, `invalid-options`; the signal's reason. What is wrong with it is told, not thrown
     */
    check: CheckUpstream;
  };
  /** Which member of a group owns which repository. */
  groups: GroupControl;
  /** Bytes of blobs and manifests that are stored, from memory; `undefined` where no `maxBytes` has them counted, or not yet. */
  storedBytes(): number | undefined;
  /**
   * What is stored, page by page, for those who run the cache: no upstream is asked. A tag's state is what it would be
   * answered by now.
   *
   * All of them throw ProxyCacheError `name-unknown` for an upstream that is none, `unsupported` for one that is asked with
   * its callers' credentials, `name-invalid`, `invalid-options`, `storage-failed`, `closed`; the signal's reason.
   */
  contents: Contents;
  /**
   * Reads all that is stored, slowly and beside the pulls: takes blobs that are wrong out of sight, to be fetched again,
   * tells those that are unreadable, and removes records that cannot be read or decoded. One runs at a time: a call meanwhile joins it.
   *
   * @throws ProxyCacheError `storage-failed` when a store fails as a whole, `closed`, `invalid-options`; the signal's reason
   */
  scrub(options?: ScrubOptions): Promise<ScrubReport>;
  /**
   * Lets go of what was not used for as long as `retention` says, slowly and beside the pulls. One runs at a time: a call
   * meanwhile joins it.
   *
   * @throws ProxyCacheError `storage-failed` when a store fails as a whole, `closed`, `invalid-options`; the signal's reason
   */
  sweep(options?: SweepOptions): Promise<SweepReport>;
  /**
   * Has images stored before anybody pulls them, as a client nobody knows would pull them: manifests, configs and layers. What
   * was pulled so asks its upstream for nothing but whether a tag is still right. A reference that fails is told, and keeps the
   * others from nothing.
   *
   * @throws ProxyCacheError `invalid-options`, `closed`; the signal's reason
   */
  warm(references: readonly string[], options?: WarmOptions): Promise<WarmReport>;
  /**
   * Removes what is stored of a tag, a digest, a repository or an upstream, whoever uses it, from memory and from other
   * processes of the storage, too: who wants it next gets it from the upstream. What is being read is read to its end. Bytes that
   * another repository has stay.
   *
   * @throws ProxyCacheError `invalid-options`, `closed`, `storage-failed` when a store fails as a whole; for a reference that is
   * none, `name-unknown`; the signal's reason
   */
  purge(what: Purge, options?: PurgeOptions): Promise<PurgeReport>;
  /**
   * Writes images into an OCI image layout, where skopeo and others read them, and {@link importLayout} of another cache does: what
   * is not stored is pulled first, as {@link warm} does. Each is listed by its reference when all of it is there, also where the
   * export is ended before the others are.
   *
   * @throws as {@link warm}; ProxyCacheError `layout-invalid` for a directory with another kind of layout, what the disk throws
   */
  exportLayout(references: readonly string[], options: ExportLayoutOptions): Promise<WarmReport>;
  /**
   * Takes the images of an OCI image layout in, each whole or not at all: they are served as if their upstreams had given them
   * now, because whoever imports them says so. Every digest and size is verified.
   *
   * @throws ProxyCacheError `layout-invalid` for what is no layout, `invalid-options`, `closed`; the signal's reason
   */
  importLayout(options: ImportLayoutOptions): Promise<ImportReport>;
  /**
   * Ends: later requests get 503, running answers may end within the grace time and are cut off then. Called again, it is
   * the same end.
   *
   * @throws ProxyCacheError `invalid-options`, at once
   */
  close(options?: CloseOptions): Promise<void>;
}
