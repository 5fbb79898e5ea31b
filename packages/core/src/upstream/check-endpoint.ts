import { ProxyCacheError } from '../runtime/errors.ts';
import {
  expectBoolean,
  expectDuration,
  expectEach,
  expectKnown,
  expectObject,
  expectUrl,
  invalidOption,
} from '../runtime/expect-option.ts';
import { isAddressPattern } from './address-rule.ts';
import type { UpstreamEndpoint, UpstreamTls } from './upstream-options.ts';

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof UpstreamEndpoint, true>> = {
  url: true,
  auth: true,
  tokenHosts: true,
  allowPrivate: true,
  tls: true,
  proxy: true,
};

/** What a host's name in an option looks like. */
export const hostText: { is: string; test: (text: string) => boolean } = { is: 'a host or host:port', test: isHost };

const addressText = { is: 'a host, an address or a CIDR block', test: isAddressPattern };

// Websites of Docker Hub that are no registry.
const dockerWebsites: readonly string[] = ['docker.io', 'www.docker.io', 'hub.docker.com', 'www.docker.com'];

/**
 * Checks what an upstream and its further endpoints have in common: where it is, and who we are there.
 *
 * @param path what it is called in messages, as in `upstreams[0]`
 * @throws ProxyCacheError `invalid-options`, naming the path, what was expected and what was received
 */
export function checkEndpoint(path: string, endpoint: UpstreamEndpoint): void {
  expectRegistryUrl(`${path}.url`, endpoint.url);
  expectEach(`${path}.tokenHosts`, endpoint.tokenHosts, hostText);
  expectEach(`${path}.allowPrivate`, endpoint.allowPrivate, addressText);
  expectAuth(`${path}.auth`, endpoint.auth);
  expectTls(`${path}.tls`, endpoint.tls);
  expectUrl(`${path}.proxy`, endpoint.proxy, { credentials: true });
}

/** Checks an upstream's further endpoints: URLs, or what {@link checkEndpoint} takes. */
export function checkEndpoints(path: string, endpoints: unknown): void {
  if (endpoints === undefined) return;
  if (!Array.isArray(endpoints)) throw invalidOption(path, 'a list of URLs and endpoints', endpoints);
  for (const [index, endpoint] of endpoints.entries()) {
    const place = `${path}[${index}]`;
    if (typeof endpoint === 'string') expectRegistryUrl(place, endpoint);
    else {
      expectObject(place, endpoint);
      expectKnown(place, endpoint, Object.keys(known));
      checkEndpoint(place, endpoint);
    }
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
  if (has('reference') && fields['reference'] !== '') return;
  // A name goes into the name of a program, so it must not lead elsewhere.
  if (has('helper') && /^[\w.-]+$/.test(String(fields['helper']))) return;
  const forms =
    '{username, password}, {token}, {usernameFile, passwordFile}, {helper: NAME}, {exec: [...]}, {reference: NAME} or a function';
  throw new ProxyCacheError('invalid-options', `${path}: expected "anonymous", ${forms}`);
}

/** As for auth: a key in the wrong place is not shown. Whether the PEM is right is told when it is read. */
function expectTls(path: string, value: UpstreamTls | undefined): void {
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
  // Authorities and certificates are no secret, so they are stored and listed: a key beside them would be, too.
  const withKey = (['ca', 'cert'] as const).find((name) =>
    texts[name].some((text) => text.includes('PRIVATE KEY-----')),
  );
  if (withKey !== undefined) {
    const message = `${path}.${withKey}: expected certificates alone; a private key belongs into tls.key`;
    throw new ProxyCacheError('invalid-options', message);
  }
  if ((value.cert === undefined) === (value.key === undefined)) return;
  throw new ProxyCacheError('invalid-options', `${path}: expected cert and key together, received one of them`);
}
