import type { Duration } from '../runtime/duration.ts';
import type { UpstreamAuth } from './credentials.ts';
import type { UpstreamMode } from './mode.ts';

/** TLS towards an upstream and its token hosts, nowhere else. PEM text. */
export interface UpstreamTls {
  /** Authorities to trust beside the machine's own. */
  ca?: string | readonly string[];
  /** Our certificate, for upstreams that ask for one. */
  cert?: string;
  key?: string;
  /** Accept any certificate. Default false. */
  insecure?: boolean;
}

/** Another base URL of an upstream's content. What it does not say (limits, times) is as for the upstream's own. */
export interface UpstreamEndpoint {
  /** As an upstream's. */
  url: string;
  /** How we authenticate there, which is nobody else's credential. Default `'anonymous'`. */
  auth?: UpstreamAuth;
  /** Hosts beside its own that its credential may be sent to as token services. Default none. */
  tokenHosts?: readonly string[];
  /** Private places that its redirects and realms may lead to. Default: those of the upstream. */
  allowPrivate?: readonly string[];
  /** Default none: neither authorities nor a certificate of the upstream's are taken over. */
  tls?: UpstreamTls;
  /** Default none: the upstream's is not taken over. */
  proxy?: string;
}

/** Names by patterns: `*` is anything but a slash, `**` anything, `{a,b}` either of two. */
export interface NamePatterns {
  /** As the upstream calls them: `library/alpine`. */
  repositories?: readonly string[];
  tags?: readonly string[];
}

/** How much an upstream is asked for at once: no one who asks is refused for it at once, but waits. */
export interface UpstreamLimits {
  /**
   * Connections to one host at most. Default 32. Blobs' bodies, which last as long as their readers take, use three quarters
   * of them; the rest is for manifests, HEADs, tokens and lists. Of one, all is shared.
   */
  maxConnections?: number;
  /** Waiting for one of them; then 503 with `Retry-After`. Default 60 s. */
  queueFor?: Duration;
  /**
   * Bytes that come from it in a second, over all its connections, endpoints and hosts that it redirects to. What comes
   * sooner is left at its servers. Manifests count, and are not held up. Default: no bound.
   */
  bytesPerSecond?: number;
  /** The largest blob that is asked for, in bytes; a larger one is refused, or cut off where its length is not told. Default: any. */
  maxBlobBytes?: number;
}

/** A registry that content comes from. Presets such as `dockerHub()` make these. */
export interface UpstreamOptions {
  /** Its name in paths: starts with a lowercase letter and is a legal path component of a repository name. */
  key: string;
  /** Its base URL, `https://registry-1.docker.io`. Paths are kept: `https://host/prefix` is asked at `/prefix/v2/`. */
  url: string;
  /**
   * Further base URLs of the same content, in the order of preference: asked when `url` fails, and for as long as it fails.
   * A plain URL is asked anonymously. That there is nothing is believed of `url` alone. Default none.
   */
  endpoints?: readonly (string | UpstreamEndpoint)[];
  /** Source hosts it answers for, as in `?ns=docker.io` or the Host header. Default: none. */
  hosts?: readonly string[];
  /** Whether one-component names mean `library/<name>`, as at Docker Hub. Default false. */
  library?: boolean;
  /** What alone is served of it; anything else is refused before it is looked for. Default: all of it. */
  include?: NamePatterns;
  /** What is not served of it, whatever `include` says. By digest the repository alone counts. Default: nothing. */
  exclude?: NamePatterns;
  /**
   * Whose credential it is asked with: `'own'`, that of `auth`, for all; `'caller'`, the name and password (Basic) that each
   * request brings, for that request alone, so that it decides who may pull what. Default `'own'`.
   */
  credentials?: 'own' | 'caller';
  /** Default `'anonymous'`. */
  auth?: UpstreamAuth;
  /** Hosts (`host` or `host:port`) beside its own that its credential may be sent to as token services. Default none. */
  tokenHosts?: readonly string[];
  /** Hosts, addresses or CIDR blocks in private ranges that redirects and realms may lead to. Default none. */
  allowPrivate?: readonly string[];
  /**
   * `'offline'`: it gets no request of any kind, what is stored is served as it is and said to be stale, and what is not is
   * 504. `'local-first'`: what is stored is served without asking, and what is not is asked for. Default `'normal'`.
   */
  mode?: UpstreamMode;
  /** How long a tag's record is served without asking. Default 0: each pull is validated. */
  freshFor?: Duration;
  /** How long after `freshFor` a stored image is served when the upstream fails. Default: no limit. */
  staleIfErrorFor?: Duration;
  /** How long a stale image is served at once while it is validated in the background. Default 0. */
  staleWhileRevalidateFor?: Duration;
  /** How long "absent" is remembered. Default 0. */
  absentFor?: Duration;
  /** What a stored tag becomes when the upstream says it is gone. Default `'refuse'`. */
  onAbsent?: 'refuse' | 'serve-stale';
  /** What a stored tag becomes when the upstream denies it. Default `'refuse'`. */
  onDenied?: 'refuse' | 'serve-stale';
  /** Whether this registry says "denied" for repositories that do not exist. Default false. */
  deniedMayMeanAbsent?: boolean;
  /** How long a repository's proof that it has some content holds. Default: no limit; with `credentials: 'caller'` 1 h. */
  linkValidFor?: Duration;
  /** Whether content whose proof has expired is served while the upstream fails, rather than refused. Default false. */
  serveUnproven?: boolean;
  /** A range of a blob not stored: passed through unverified, or served from the verified whole. Default `'pass'`. */
  coldRange?: 'pass' | 'verify';
  /**
   * What is fetched before a client asks for it: `'layers'`, the config and layers of an image whose manifest it was just
   * given, as far as its own requests leave room. Default `'off'`.
   */
  prefetch?: 'off' | 'layers';
  /** Connecting, waiting for headers, waiting for the next byte. Defaults 5 s, 30 s, 30 s. */
  timeouts?: { connect?: Duration; headers?: Duration; idle?: Duration };
  /** To a manifest's or list's last byte, with nothing stored. Default 10 s. */
  manifestWithin?: Duration;
  /** To a blob's first byte, with nothing stored. Default 60 s. */
  blobWithin?: Duration;
  /** How long a blob's transfer that broke off may bring nothing new before it is given up; 0: at once. Default 2 m. */
  resumeWithin?: Duration;
  /** To the answer of a validation, with a copy stored. Default 2 s. */
  validateWithin?: Duration;
  /** How much may be asked of it at once. */
  limits?: UpstreamLimits;
  /**
   * Whether the end of a blob of `minSize` bytes or more (default 128 MiB) is asked for in parts beside its beginning, over
   * `connections` of them together (default 8), where that brings it sooner: for upstreams that give each connection only
   * so much. What one more brings is measured, and one that does not help is closed; at most half of the connections
   * that blobs may use are taken. Default false.
   */
  segments?: false | { connections?: number; minSize?: number };
  /** The longest manifest taken, in bytes. Default 4 MiB. */
  maxManifestBytes?: number;
  /** Bytes of what is stored of it: over it the least recently used of it goes first. Default: no bound of its own. */
  maxBytes?: number;
  /**
   * `reserve`: the share of the upstream's rate limit that is kept for images that are not stored. Below it, changed tags
   * are answered stale and said so. 0 spares nothing. Default 0.1.
   */
  rateLimit?: { reserve?: number };
  /**
   * When a host that keeps failing (the registry, its token service, one that a redirect led to) is left alone: after
   * `failures` in a row (connections, timeouts, 5xx; default 3), for `openFor` (2 s), twice as long each time it is tried
   * and fails again, `maxOpenFor` (60 s) at most. Meanwhile stored tags are served at once. Connections and 5xx that fail
   * together count once.
   */
  breaker?: { failures?: number; openFor?: Duration; maxOpenFor?: Duration };
  /**
   * Asking again after no connection, a timeout, 408, 425, 429 and 5xx: how often a request is sent at most (default 3),
   * between which waits (a random time up to `minWait`, doubling up to `maxWait`; 100 ms, 5 s), and how many retries beside
   * the first one for each request the upstream bears (default 0.2, beside one a second).
   */
  retry?: { attempts?: number; minWait?: Duration; maxWait?: Duration; budget?: number };
  tls?: UpstreamTls;
  /** URL of an HTTP(S) proxy to reach it and its redirects through. Default none; the environment is not read. */
  proxy?: string;
  /** Text that marks a 401, 403 or 404 as the registry's own although its body is not an OCI error. Default none. */
  ownVoice?: readonly string[];
}

/** {@link UpstreamOptions} with every default filled in. */
export type UpstreamSettings = Required<
  Omit<UpstreamOptions, 'tls' | 'proxy' | 'maxBytes' | 'segments' | 'limits' | Grouped>
> &
  Pick<UpstreamOptions, 'tls' | 'proxy' | 'maxBytes'> & {
    [Name in Grouped]: Required<NonNullable<UpstreamOptions[Name]>>;
  } & {
    segments: false | SegmentSettings;
    limits: Required<Pick<UpstreamLimits, 'maxConnections' | 'queueFor'>> & UpstreamLimits;
  };

/** {@link UpstreamOptions.segments} where they are on. */
export type SegmentSettings = Required<Exclude<UpstreamOptions['segments'], false | undefined>>;

/** Options that are several, each with a default of its own. */
type Grouped = 'timeouts' | 'rateLimit' | 'breaker' | 'retry';
