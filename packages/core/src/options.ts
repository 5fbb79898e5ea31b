import type { AccessHooks, AccessSettings } from './access/hooks.ts';
import type { AdmissionOptions, AdmissionSettings } from './admission/hook.ts';
import type { ProxyCacheEvent } from './events.ts';
import type { GroupOptions, GroupSettings } from './group/group-options.ts';
import type { HandleBeside } from './http/message.ts';
import type { Limits } from './retention/quota.ts';
import type { RetentionSettings } from './retention/retention.ts';
import type { RetentionOptions } from './retention/retention-options.ts';
import type { PersistUpstreamsOptions } from './roster/persist-upstreams-options.ts';
import type { Clock } from './runtime/clock.ts';
import type { Tracing } from './runtime/tracing.ts';
import { withDefaults } from './runtime/with-defaults.ts';
import type { Storage } from './store/storage.ts';
import type { SegmentSettings, UpstreamOptions, UpstreamSettings } from './upstream/upstream-options.ts';

/** Options of `createProxyCache`. */
export interface ProxyCacheOptions {
  /** The registries that content comes from, by unique keys. */
  upstreams: readonly UpstreamOptions[];
  /** Several upstreams as one, by keys of their own. Default none. */
  groups?: readonly GroupOptions[];
  /** Where content stays: `fileStorage(dir)` or `memoryStorage()`, or stores of your own. */
  storage: Storage;
  /** Key of the upstream or group for paths that name none, as a Docker `registry-mirrors` entry sends. Default: none. */
  defaultUpstream?: string;
  /** Keys of upstreams that were removed: they answer 404 and never fall to the default. Default none. */
  reservedKeys?: readonly string[];
  /** Called with each event, synchronously. What it throws, or rejects with, is dropped. */
  observer?: (event: ProxyCacheEvent) => void;
  /** Where spans go, around each request and each call upstream; `openTelemetry` of `@proxycache/admin` makes one. Default: nowhere. */
  tracing?: Tracing;
  /** Default: the machine's clock. */
  clock?: Clock;
  /**
   * Memory bounds in bytes: manifests and records kept at hand (64 MiB), blobs of up to 1 MiB that are pulled again and again
   * (64 MiB; 0: none), buffers of running transfers (64 MiB).
   */
  memory?: { manifests?: number; blobs?: number; buffers?: number };
  /**
   * Upstream blob transfers at once; over it 503 with `Retry-After`. Those that bring nothing are counted apart, for each
   * upstream, and those that nobody asked for (`prefetch`) not at all. Default 256.
   */
  maxIngests?: number;
  /** Requests at once; over it 503 with `Retry-After`. Default 10,000. */
  maxRequests?: number;
  /**
   * Bytes kept free of the spool's disk, and of that of `fileStorage` where it is another; below it pulls pass through
   * uncached. Default: 5 % of the disk, at most 1 GiB.
   */
  minFree?: number;
  /**
   * Bytes of verified blobs that may wait on the spool's disk for a store that does not take them; what is over it is
   * served and not kept. Default: as many as there is room for beside them.
   */
  maxWaitingBytes?: number;
  /**
   * `'first'`: a stored blob is hashed before its first read after start, so that one which rotted on the disk is fetched
   * again instead of served; that read waits for it, about 1 s per GB. Default `'never'`: what was verified when it came is
   * not looked at again. Manifests are verified whenever they come from the store.
   */
  verifyOnRead?: 'never' | 'first';
  /**
   * What of the work on blobs that come in is done by worker threads rather than by the host's own: `'hash'` checks the
   * digests of those over 1 MiB there, `'auto'` does so while several blobs come in at once, as the layers of an image do, or
   * one comes faster than the host's thread can take it in; `'ingest'` also receives blobs there, TLS
   * included, but through a `proxy`. Where no thread can be had it is done by the host's own, and a `warning` says why.
   * But with `'off'`, chunks of bodies may lie in a `SharedArrayBuffer`, which web APIs such as `Response` refuse: whoever
   * writes them by himself copies them. Default `'auto'`.
   */
  offload?: 'auto' | 'off' | 'hash' | 'ingest';
  /** How many worker threads there are at most; they start when there is work for them. Default 1. */
  threads?: number;
  /**
   * Where caches on other hosts that share the storage and its `coordinator` read what this one is bringing in, so that they
   * need not ask the upstream too. Default: they cannot.
   */
  peers?: PeersOptions;
  /**
   * Whether what is changed of upstreams at run time (`cache.upstreams`) is kept in the metadata store: it holds after a restart
   * and in all caches that share the storage, in place of what `upstreams` says of the same key. Default: it ends with the process.
   */
  persistUpstreams?: PersistUpstreamsOptions;
  /** Who may pull what, and who did. Default: whoever reaches the cache pulls everything, and nobody is told. */
  access?: AccessOptions;
  /**
   * At least 32 bytes, by which records tell the callers of upstreams with `credentials: 'caller'` apart, without their names
   * or passwords. Caches that share a storage need the same one. Default: made anew at each start, so that each start and
   * each process begins without those records.
   */
  callerKey?: string;
  /** What may pass, beside what the names of `include` and `exclude` say: judged before its first byte. Default: everything. */
  admission?: AdmissionOptions;
  /**
   * What stays in the stores, and for how long: by default what was used within 7 days. `false`: all that comes in stays, and
   * only `sweep()` lets go of what was not used for so long.
   */
  retention?: false | RetentionOptions;
  /** Whether `/v2/_catalog` lists what is stored. Default false. */
  catalog?: boolean;
  /**
   * Whether answers by digest may be kept by shared HTTP caches in front (`Cache-Control: public`): not beside hooks of
   * `access`, which such a cache does not ask. Default false.
   */
  publicContent?: boolean;
  /** Origin for URLs in answers (`https://mirror.example`). Default: they are relative. */
  publicUrl?: string;
}

/** Who may pull what: hooks of yours, or ready-made ones. */
export interface AccessOptions extends AccessHooks {
  /**
   * Answers paths of its own beside `/v2/`, such as a token service's `/token`; `undefined`: the host goes on. Counted by
   * `maxRequests` and bound by `within`, as the rest; of its paths those that it `owns` are refused with 503 over the limit.
   * `request.context` is made when it is read: look at the path first.
   */
  handle?: HandleBeside;
}

/** How the caches of several hosts reach one another. */
export interface PeersOptions {
  /** This process, or those of its host that share its port and spool folder, as the others reach it: `http://10.0.0.7:5000`, and the path where it is mounted. */
  url: string;
  /** The same text for all of them, at least 32 bytes; requests are signed with it, and it is never sent. */
  secret: string;
}

/** {@link ProxyCacheOptions} that have a default. */
type Defaults = Required<
  Pick<
    ProxyCacheOptions,
    'reservedKeys' | 'maxIngests' | 'maxRequests' | 'verifyOnRead' | 'offload' | 'threads' | 'catalog' | 'publicContent'
  >
> & {
  memory: Required<NonNullable<ProxyCacheOptions['memory']>>;
  access: AccessSettings;
  retention: RetentionSettings & Required<Pick<RetentionOptions, 'lowWater'>>;
  admission: Omit<AdmissionSettings, 'admit' | 'upstreams'>;
  persistUpstreams: Required<Pick<PersistUpstreamsOptions, 'refreshEvery'>>;
  upstream: Omit<UpstreamSettings, 'key' | 'url'>;
  group: Omit<GroupSettings, 'key' | 'upstreams'>;
  /** Of an upstream that is asked with its callers' credentials. */
  ofCallers: Pick<UpstreamSettings, 'linkValidFor'>;
  /** Of an upstream that has them. */
  segments: SegmentSettings;
};

/** Every default of a cache and of its upstreams, in one place. */
export const defaults: Defaults = {
  reservedKeys: [],
  memory: { manifests: 64 * 1024 * 1024, blobs: 64 * 1024 * 1024, buffers: 64 * 1024 * 1024 },
  access: { anonymous: true, within: '5s', audit: true },
  persistUpstreams: { refreshEvery: '10s' },
  admission: { version: '', within: '10s', decisionFor: '5m' },
  maxIngests: 256,
  maxRequests: 10_000,
  verifyOnRead: 'never',
  retention: { unusedFor: '7d', rules: [], every: '1h', lowWater: 0.9 },
  offload: 'auto',
  threads: 1,
  catalog: false,
  publicContent: false,
  upstream: {
    endpoints: [],
    hosts: [],
    library: false,
    include: {},
    exclude: {},
    credentials: 'own',
    auth: 'anonymous',
    tokenHosts: [],
    allowPrivate: [],
    mode: 'normal',
    freshFor: 0,
    staleIfErrorFor: Number.POSITIVE_INFINITY,
    staleWhileRevalidateFor: 0,
    absentFor: 0,
    onAbsent: 'refuse',
    onDenied: 'refuse',
    deniedMayMeanAbsent: false,
    linkValidFor: Number.POSITIVE_INFINITY,
    serveUnproven: false,
    coldRange: 'pass',
    prefetch: 'off',
    timeouts: { connect: '5s', headers: '30s', idle: '30s' },
    manifestWithin: '10s',
    blobWithin: '60s',
    resumeWithin: '2m',
    validateWithin: '2s',
    limits: { maxConnections: 32, queueFor: '60s' },
    segments: false,
    maxManifestBytes: 4 * 1024 * 1024,
    rateLimit: { reserve: 0.1 },
    breaker: { failures: 3, openFor: '2s', maxOpenFor: '60s' },
    retry: { attempts: 3, minWait: '100ms', maxWait: '5s', budget: 0.2 },
    ownVoice: [],
  },
  group: { hosts: [], library: false, skipFailed: false, deniedMayMeanAbsent: false, pin: [] },
  ofCallers: { linkValidFor: '1h' },
  segments: { connections: 8, minSize: 128 * 1024 * 1024 },
};

/** An upstream's options with every default filled in. */
export function upstreamSettings(options: UpstreamOptions): UpstreamSettings {
  const { timeouts, limits, rateLimit, breaker, retry, segments, ...others } = options;
  const { upstream, ofCallers } = defaults;
  return {
    ...withDefaults({ ...upstream, ...(options.credentials === 'caller' && ofCallers) }, others),
    timeouts: withDefaults(upstream.timeouts, timeouts),
    limits: withDefaults(upstream.limits, limits),
    rateLimit: withDefaults(upstream.rateLimit, rateLimit),
    breaker: withDefaults(upstream.breaker, breaker),
    retry: withDefaults(upstream.retry, retry),
    segments: segments ? withDefaults(defaults.segments, segments) : false,
  };
}

/** How much may be stored; `undefined`: nothing goes for what comes in. */
export function limitsOf(options: Pick<ProxyCacheOptions, 'retention' | 'upstreams'>): Limits | undefined {
  const { retention = {}, upstreams } = options;
  if (retention === false) return undefined;
  const { maxBytes, lowWater = defaults.retention.lowWater } = retention;
  const own = upstreams.flatMap(({ key, maxBytes: most }) => (most === undefined ? [] : [[key, most] as const]));
  return { maxBytes, lowWater, upstreams: new Map(own) };
}

/** What stays, with every default filled in. */
export function retentionSettings({ retention }: Pick<ProxyCacheOptions, 'retention'>): RetentionSettings {
  if (retention === false) return { ...defaults.retention, every: false };
  return withDefaults(defaults.retention, retention);
}
