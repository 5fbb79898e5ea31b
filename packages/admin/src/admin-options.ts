import { attempt, type Clock, type Duration, ProxyCacheError, parseDuration, systemClock } from '@proxycache/core';
import type { AuthorizeAdmin } from './authorize.ts';

/** Options of `createAdmin`. */
export interface AdminOptions {
  /**
   * Who may use the API. `'loopback-only'`: users of this machine, as the connection says; whoever was passed on by a proxy
   * that says so is none. There is no default.
   */
  authorize: 'loopback-only' | AuthorizeAdmin;
  /** The path it is at, below where the adapter mounts it; `''`: none of its own. Default `/admin`. */
  basePath?: string;
  /** The metrics that `/metrics` shows, such as those of `createMetrics`. Default: none. */
  metrics?: { contentType: string; text(): string | Promise<string> };
  /** How long `authorize` may take; then 503. Default `'5s'`. */
  within?: Duration;
  /** Jobs that run at once at most. Default 8. */
  maxJobs?: number;
  /**
   * `hostCredentials`: whether upstreams that come over the API may name files and programs of the host for their
   * credentials (`usernameFile`, `helper`, `exec`). Default false. `references`: whether they may name what the host's
   * `secretOf` knows (`reference`), any of which whoever may use the API can so have sent to a place of his own. Default false.
   */
  allow?: { hostCredentials?: boolean; references?: boolean };
  /** Origin that users reach it at, `https://ops.example`: the only one whose pages may write. Default: what `Host` says. */
  publicUrl?: string;
  /** Told of what failed and was foreseen by nobody; the client is told nothing of it. Default: nobody. */
  onError?: (error: unknown) => void;
  /** Default: the machine's. */
  clock?: Clock;
}

/** {@link AdminOptions} with every default filled in. */
export interface AdminSettings {
  authorize: 'loopback-only' | AuthorizeAdmin;
  basePath: string;
  metrics: AdminOptions['metrics'];
  withinMs: number;
  maxJobs: number;
  hostCredentials: boolean;
  references: boolean;
  publicUrl: URL | undefined;
  onError(error: unknown): void;
  clock: Clock;
}

const names = ['authorize', 'basePath', 'metrics', 'within', 'maxJobs', 'allow', 'publicUrl', 'onError', 'clock'];

/** @throws ProxyCacheError `invalid-options`, with the path and what was expected */
export function adminSettings(options: AdminOptions): AdminSettings {
  if (typeof options !== 'object' || options === null) {
    throw wrong('options', 'an object with authorize, as nobody is let in by default');
  }
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown !== undefined) throw wrong(unknown, 'no such option');
  const { authorize, basePath = '/admin', metrics, maxJobs = 8, allow = {}, onError = () => undefined } = options;
  const { hostCredentials = false, references = false } = allow;
  if (authorize !== 'loopback-only' && typeof authorize !== 'function') {
    throw wrong('authorize', `"loopback-only" or a function, as nobody is let in by default`);
  }
  if (basePath !== '' && !/^(?:\/[\w.~-]+)+$/.test(basePath)) throw wrong('basePath', '"" or a path such as "/admin"');
  if (!Number.isSafeInteger(maxJobs) || maxJobs < 1) throw wrong('maxJobs', 'a whole number from 1');
  if (typeof hostCredentials !== 'boolean') throw wrong('allow.hostCredentials', 'true or false');
  if (typeof references !== 'boolean') throw wrong('allow.references', 'true or false');
  if (metrics && typeof metrics.text !== 'function') throw wrong('metrics', 'what createMetrics gives');
  if (typeof onError !== 'function') throw wrong('onError', 'a function');
  return {
    authorize,
    basePath,
    metrics,
    withinMs: msOf(options.within ?? '5s'),
    maxJobs,
    hostCredentials,
    references,
    publicUrl: originOf(options.publicUrl),
    onError: (error) => attempt(() => onError(error)),
    clock: options.clock ?? systemClock,
  };
}

function msOf(within: Duration): number {
  try {
    const ms = parseDuration(within);
    // Each question that waits holds its request: none may wait forever.
    if (Number.isFinite(ms)) return ms;
  } catch {
    // As below.
  }
  throw wrong('within', 'a duration such as 500 or "5s"');
}

function originOf(publicUrl: string | undefined): URL | undefined {
  if (publicUrl === undefined) return undefined;
  const url = URL.canParse(publicUrl) ? new URL(publicUrl) : undefined;
  if (url && /^https?:$/.test(url.protocol) && `${url.origin}` === publicUrl.replace(/\/$/, '')) return url;
  throw wrong('publicUrl', 'an origin such as "https://ops.example", without a path');
}

function wrong(path: string, expected: string): ProxyCacheError {
  return new ProxyCacheError('invalid-options', `createAdmin: ${path}: expected ${expected}`);
}
