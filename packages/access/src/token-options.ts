import { type Clock, type Duration, ProxyCacheError, parseDuration, systemClock } from '@proxycache/core';
import type { PasswordVerifier } from './password-verifier.ts';
import { readKeys, type ServiceKeys, type TokenKeys } from './token-keys.ts';

/** Who is given tokens, and what they are good for. */
export interface TokenServiceOptions {
  /** Where clients reach this cache, as `https://cache.example`: realm and service come from it, never from a request. */
  publicUrl: string;
  /** Checks a user name and a password: of `passwordVerifier`, or the host's own. */
  verify: PasswordVerifier;
  /** What tokens are signed with, the same on every replica. */
  keys: TokenKeys;
  /** The name that tokens are good for (`aud`). Default: host and port of `publicUrl`. */
  service?: string;
  /** Who gives them (`iss`). Default: the service. */
  issuer?: string;
  /** Where they are given, below the cache's mount point. Default: `/token`. */
  path?: string;
  /** How long a token is good for, 1 s to 1 d. Default: 5 m. */
  lifetime?: Duration;
  /** How far clocks may be apart, up to 1 m. Default: 10 s. */
  leeway?: Duration;
  /**
   * Whether those who bring no password are given a token of nobody, which lets them do what they may without one.
   * Default: false.
   */
  anonymous?: boolean;
  /** How long `verify` may take. Default: 5 s. */
  within?: Duration;
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** The options, checked, with defaults. */
export interface TokenSettings {
  /** `https://cache.example` */
  origin: string;
  verify: PasswordVerifier;
  keys: ServiceKeys;
  service: string;
  issuer: string;
  path: string;
  /** In seconds. */
  lifetime: number;
  leewayMs: number;
  anonymous: boolean;
  withinMs: number;
  clock: Clock;
}

const known = [
  ...['publicUrl', 'verify', 'keys', 'service', 'issuer', 'path'],
  ...['lifetime', 'leeway', 'anonymous', 'within', 'clock'],
];

/** @throws ProxyCacheError `invalid-options`, without what may be a secret */
export function checkTokenOptions(options: TokenServiceOptions): TokenSettings {
  expectKnown('tokenService', options, known);
  const origin = publicOrigin(options.publicUrl);
  const service = nameOf('service', options.service ?? new URL(origin).host);
  const { verify, anonymous = false, path = '/token' } = options;
  if (typeof verify !== 'function') throw wrong('verify: expected a function, such as that of passwordVerifier');
  if (typeof anonymous !== 'boolean') throw wrong('anonymous: expected true or false');
  if (typeof path !== 'string' || !/^(?:\/[A-Za-z0-9._~-]+)+$/.test(path) || /^\/v2(?:\/|$)/.test(path)) {
    throw wrong(`path: expected a path such as "/token" outside of /v2, received ${JSON.stringify(path)}`);
  }
  return {
    origin,
    service,
    verify,
    anonymous,
    path,
    issuer: nameOf('issuer', options.issuer ?? service),
    keys: readKeys('tokenService: keys', options.keys),
    lifetime: Math.floor(msOf('lifetime', options.lifetime ?? '5m', [1000, 86_400_000]) / 1000),
    leewayMs: msOf('leeway', options.leeway ?? '10s', [0, 60_000]),
    withinMs: msOf('within', options.within ?? '5s', [1, 600_000]),
    clock: options.clock ?? systemClock,
  };
}

function publicOrigin(given: string): string {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  const isOrigin = /^https?:$/.test(url?.protocol ?? '') && `${url?.origin}/` === url?.href;
  if (url && isOrigin) return url.origin;
  throw wrong(
    'publicUrl: expected an http(s) URL without user, path, query and fragment, such as "https://cache.example"',
  );
}

/** A name that stands in quotes in a header. */
function nameOf(name: string, value: unknown): string {
  if (typeof value === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/.test(value)) return value;
  throw wrong(`${name}: expected a name without spaces and quotes, such as "cache.example"`);
}

function msOf(name: string, value: Duration, [least, most]: readonly [number, number]): number {
  const ms = parseDuration(value);
  if (ms >= least && ms <= most) return ms;
  throw wrong(`${name}: expected a duration of ${least} ms to ${most} ms, received ${JSON.stringify(value)}`);
}

/** @throws ProxyCacheError `invalid-options` for what is no object, or has a name that is no option */
export function expectKnown(part: string, options: unknown, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new ProxyCacheError('invalid-options', `${part}: expected an object`);
  }
  const stranger = Object.keys(options).find((name) => !names.includes(name));
  if (stranger === undefined) return;
  throw new ProxyCacheError('invalid-options', `${part}: ${stranger}: there is no such option`);
}

const wrong = (message: string) => new ProxyCacheError('invalid-options', `tokenService: ${message}`);
