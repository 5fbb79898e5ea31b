import { ProxyCacheError } from '../runtime/errors.ts';
import {
  expectBoolean,
  expectDuration,
  expectEach,
  expectKnown,
  expectObject,
  expectOneOf,
  expectShare,
  expectUrl,
  expectWhole,
  invalidOption,
} from '../runtime/expect-option.ts';
import { isAddressPattern } from './address-rule.ts';
import { checkUpstreamKey } from './upstream-key.ts';
import type { UpstreamOptions } from './upstream-options.ts';

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof UpstreamOptions, true>> = {
  key: true,
  url: true,
  hosts: true,
  library: true,
  auth: true,
  tokenHosts: true,
  allowPrivate: true,
  freshFor: true,
  staleIfErrorFor: true,
  staleWhileRevalidateFor: true,
  absentFor: true,
  onAbsent: true,
  onDenied: true,
  deniedMayMeanAbsent: true,
  linkValidFor: true,
  coldRange: true,
  timeouts: true,
  manifestWithin: true,
  blobWithin: true,
  resumeWithin: true,
  validateWithin: true,
  queueFor: true,
  connections: true,
  maxManifestBytes: true,
  rateLimit: true,
  breaker: true,
  tls: true,
  proxy: true,
  ownVoice: true,
};

// Websites of Docker Hub that are no registry.
const dockerWebsites: readonly string[] = ['docker.io', 'www.docker.io', 'hub.docker.com', 'www.docker.com'];

/**
 * Checks an upstream's options, also of a caller without types.
 *
 * @param path what it is called in messages, as in `upstreams[0]`
 * @throws ProxyCacheError `invalid-options`, naming the path, what was expected and what was received
 */
export function checkUpstream(path: string, upstream: UpstreamOptions): void {
  expectObject(path, upstream);
  expectKnown(path, upstream, Object.keys(known));
  if (typeof upstream.key !== 'string') throw invalidOption(`${path}.key`, 'a key such as "docker-hub"', upstream.key);
  checkUpstreamKey(upstream.key, `${path}.key`);
  expectRegistryUrl(`${path}.url`, upstream.url);
  const host = { is: 'a host or host:port', test: isHost };
  expectEach(`${path}.hosts`, upstream.hosts, host);
  expectEach(`${path}.tokenHosts`, upstream.tokenHosts, host);
  const address = { is: 'a host, an address or a CIDR block', test: isAddressPattern };
  expectEach(`${path}.allowPrivate`, upstream.allowPrivate, address);
  expectEach(`${path}.ownVoice`, upstream.ownVoice, { is: 'a text', test: (text) => text !== '' });
  expectBoolean(`${path}.library`, upstream.library);
  expectBoolean(`${path}.deniedMayMeanAbsent`, upstream.deniedMayMeanAbsent);
  expectAuth(`${path}.auth`, upstream.auth);
  expectTls(`${path}.tls`, upstream.tls);
  expectTimes(path, upstream);
  expectOneOf(`${path}.onAbsent`, upstream.onAbsent, ['refuse', 'serve-stale']);
  expectOneOf(`${path}.onDenied`, upstream.onDenied, ['refuse', 'serve-stale']);
  expectOneOf(`${path}.coldRange`, upstream.coldRange, ['pass', 'verify']);
  expectWhole(`${path}.connections`, upstream.connections, 1);
  expectWhole(`${path}.maxManifestBytes`, upstream.maxManifestBytes, 1);
  expectBreaker(`${path}.breaker`, upstream.breaker);
  if (upstream.rateLimit !== undefined) {
    expectObject(`${path}.rateLimit`, upstream.rateLimit);
    expectKnown(`${path}.rateLimit`, upstream.rateLimit, ['reserve']);
    expectShare(`${path}.rateLimit.reserve`, upstream.rateLimit.reserve);
  }
  expectUrl(`${path}.proxy`, upstream.proxy, { credentials: true });
}

function expectTimes(path: string, upstream: UpstreamOptions): void {
  const spans = [
    'freshFor',
    'staleIfErrorFor',
    'staleWhileRevalidateFor',
    'absentFor',
    'linkValidFor',
    'resumeWithin',
  ] as const;
  for (const name of spans) expectDuration(`${path}.${name}`, upstream[name]);
  // None at all would be a limit that nothing can keep.
  for (const name of ['manifestWithin', 'blobWithin', 'validateWithin', 'queueFor'] as const) {
    expectDuration(`${path}.${name}`, upstream[name], 1);
  }
  const { timeouts } = upstream;
  if (timeouts === undefined) return;
  const names = ['connect', 'headers', 'idle'] as const;
  expectObject(`${path}.timeouts`, timeouts);
  expectKnown(`${path}.timeouts`, timeouts, names);
  for (const name of names) expectDuration(`${path}.timeouts.${name}`, timeouts[name], 1);
}

function expectBreaker(path: string, breaker: UpstreamOptions['breaker']): void {
  if (breaker === undefined) return;
  expectObject(path, breaker);
  expectKnown(path, breaker, ['failures', 'openFor', 'maxOpenFor']);
  expectWhole(`${path}.failures`, breaker.failures, 1);
  // A host that is down for good must not be left alone for good: every breaker ends.
  for (const name of ['openFor', 'maxOpenFor'] as const) {
    expectDuration(`${path}.${name}`, breaker[name], 1);
    if (breaker[name] === Number.POSITIVE_INFINITY)
      throw invalidOption(`${path}.${name}`, 'a duration that ends', breaker[name]);
  }
}

function expectRegistryUrl(path: string, value: unknown): void {
  if (value === undefined) throw invalidOption(path, 'an http(s) URL such as "https://registry.example"', value);
  if (typeof value === 'string' && dockerWebsites.includes(value.replace(/^https?:\/\//, '').replace(/\/.*$/, ''))) {
    throw invalidOption(path, 'the URL of a registry', value, '; did you mean "https://registry-1.docker.io"?');
  }
  expectUrl(path, value);
  if (/\/v2\/*$/.test(String(value))) {
    throw invalidOption(path, 'the URL that /v2/ is below', value, '; leave /v2 out, every request adds it');
  }
}

function isHost(text: string): boolean {
  return /^[a-z0-9.-]+(:\d{1,5})?$/i.test(text) || /^\[[0-9a-f:.]+\](:\d{1,5})?$/i.test(text);
}

/** One of the forms of {@link UpstreamAuth}. What was received is not shown: it may be a secret in the wrong place. */
function expectAuth(path: string, value: unknown): void {
  if (value === undefined || value === 'anonymous' || typeof value === 'function') return;
  const fields: Readonly<Record<string, unknown>> = typeof value === 'object' && value !== null ? { ...value } : {};
  const has = (...names: readonly string[]) => names.every((name) => typeof fields[name] === 'string');
  const { exec } = fields;
  const runs = Array.isArray(exec) && exec.length > 0 && exec.every((part) => typeof part === 'string');
  if (runs) expectDuration(`${path}.lifetime`, fields['lifetime'], 1);
  if (has('username', 'password') || has('token') || has('usernameFile', 'passwordFile') || runs) return;
  // A name goes into the name of a program, so it must not lead elsewhere.
  if (has('helper') && /^[\w.-]+$/.test(String(fields['helper']))) return;
  const forms =
    '{username, password}, {token}, {usernameFile, passwordFile}, {helper: NAME}, {exec: [...]} or a function';
  throw new ProxyCacheError('invalid-options', `${path}: expected "anonymous", ${forms}`);
}

/** As for auth: a key in the wrong place is not shown. Whether the PEM is right is told when it is read. */
function expectTls(path: string, value: UpstreamOptions['tls']): void {
  if (value === undefined) return;
  if (typeof value === 'string') throw new ProxyCacheError('invalid-options', `${path}: expected an object`);
  expectObject(path, value);
  expectKnown(path, value, ['ca', 'cert', 'key', 'insecure']);
  expectBoolean(`${path}.insecure`, value.insecure);
  const texts = { ca: [value.ca ?? []].flat(), cert: [value.cert ?? []].flat(), key: [value.key ?? []].flat() };
  for (const [name, entries] of Object.entries(texts)) {
    if (entries.every((text) => typeof text === 'string' && text.includes('-----BEGIN '))) continue;
    throw new ProxyCacheError('invalid-options', `${path}.${name}: expected PEM text, which has a "-----BEGIN " line`);
  }
  if ((value.cert === undefined) === (value.key === undefined)) return;
  throw new ProxyCacheError('invalid-options', `${path}: expected cert and key together, received one of them`);
}
