import type { ProxyCacheOptions } from './options.ts';
import { parseDuration } from './runtime/duration.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import { isAddressPattern } from './upstream/address-rule.ts';
import { checkUpstreamKey } from './upstream/upstream-key.ts';
import type { UpstreamOptions } from './upstream/upstream-options.ts';

/**
 * Checks what a caller passed, also one without types.
 *
 * @throws ProxyCacheError `invalid-options`, naming the path, what was expected and what was received
 */
export function checkOptions(options: ProxyCacheOptions): void {
  expectObject('options', options);
  const { storage, memory, upstreams } = options;
  if (!Array.isArray(upstreams) || upstreams.length === 0) {
    throw invalid('upstreams', 'at least one upstream, such as dockerHub()', upstreams);
  }
  upstreams.forEach((upstream, index) => {
    checkUpstream(`upstreams[${index}]`, upstream);
  });
  expectObject('storage', storage);
  for (const part of ['blobs', 'metadata'] as const) expectObject(`storage.${part}`, storage[part]);
  if (typeof storage.spoolDirectory !== 'string' || storage.spoolDirectory === '') {
    throw invalid('storage.spoolDirectory', 'a local folder', storage.spoolDirectory);
  }
  expectWhole('memory.manifests', memory?.manifests);
  expectWhole('memory.buffers', memory?.buffers);
  expectWhole('maxIngests', options.maxIngests, 1);
  expectWhole('maxRequests', options.maxRequests, 1);
  expectWhole('minFree', options.minFree);
  if (options.publicUrl !== undefined) expectUrl('publicUrl', options.publicUrl);
  if (options.observer !== undefined && typeof options.observer !== 'function') {
    throw invalid('observer', 'a function', options.observer);
  }
}

function checkUpstream(path: string, upstream: UpstreamOptions): void {
  expectObject(path, upstream);
  if (typeof upstream.key !== 'string') throw invalid(`${path}.key`, 'a key such as "docker-hub"', upstream.key);
  checkUpstreamKey(upstream.key, `${path}.key`);
  expectUrl(`${path}.url`, upstream.url);
  const durations = [
    'freshFor',
    'staleIfErrorFor',
    'staleWhileRevalidateFor',
    'absentFor',
    'linkValidFor',
    'manifestWithin',
    'blobWithin',
    'validateWithin',
    'queueFor',
  ] as const;
  for (const name of durations) expectDuration(`${path}.${name}`, upstream[name]);
  for (const name of ['connect', 'headers', 'idle'] as const) {
    expectDuration(`${path}.timeouts.${name}`, upstream.timeouts?.[name]);
  }
  expectOneOf(`${path}.onAbsent`, upstream.onAbsent, ['refuse', 'serve-stale']);
  expectOneOf(`${path}.onDenied`, upstream.onDenied, ['refuse', 'serve-stale']);
  expectOneOf(`${path}.coldRange`, upstream.coldRange, ['pass', 'verify']);
  expectEach(`${path}.allowPrivate`, upstream.allowPrivate, 'a host, an address or a CIDR block', isAddressPattern);
  expectEach(`${path}.tokenHosts`, upstream.tokenHosts, 'a host or host:port', isHost);
  expectAuth(`${path}.auth`, upstream.auth);
  expectWhole(`${path}.connections`, upstream.connections, 1);
  expectWhole(`${path}.maxManifestBytes`, upstream.maxManifestBytes, 1);
  if (upstream.proxy !== undefined) expectUrl(`${path}.proxy`, upstream.proxy);
}

function invalid(path: string, expected: string, received: unknown, hint = ''): ProxyCacheError {
  const shown = typeof received === 'function' ? 'a function' : (JSON.stringify(received) ?? String(received));
  return new ProxyCacheError('invalid-options', `${path}: expected ${expected}, received ${shown}${hint}`);
}

function expectObject(path: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalid(path, 'an object', value);
}

function expectWhole(path: string, value: unknown, least = 0): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= least)) return;
  throw invalid(path, `a whole number from ${least}`, value);
}

function expectOneOf(path: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value as string)) return;
  throw invalid(path, choices.map((choice) => JSON.stringify(choice)).join(' or '), value);
}

function expectEach(path: string, value: unknown, expected: string, isOne: (entry: string) => boolean): void {
  if (value === undefined) return;
  if (!Array.isArray(value)) throw invalid(path, `a list, each ${expected}`, value);
  value.forEach((entry, index) => {
    if (typeof entry !== 'string' || !isOne(entry)) throw invalid(`${path}[${index}]`, expected, entry);
  });
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
  if (has('username', 'password') || has('token') || has('usernameFile', 'passwordFile') || runs) return;
  // A name goes into the name of a program, so it must not lead elsewhere.
  if (has('helper') && /^[\w.-]+$/.test(String(fields['helper']))) return;
  const forms =
    '{username, password}, {token}, {usernameFile, passwordFile}, {helper: NAME}, {exec: [...]} or a function';
  throw new ProxyCacheError('invalid-options', `${path}: expected "anonymous", ${forms}`);
}

function expectDuration(path: string, value: UpstreamOptions['freshFor']): void {
  if (value === undefined) return;
  try {
    parseDuration(value);
  } catch (cause) {
    throw new ProxyCacheError('invalid-options', `${path}: ${(cause as Error).message}`, { cause });
  }
}

/** An http(s) URL without credentials, query or fragment. What is received is shown without what may be a secret. */
function expectUrl(path: string, value: unknown): void {
  const text = typeof value === 'string' ? value : '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:';
  if (url && isHttp && url.search === '' && url.hash === '' && (url.username === '' || path.endsWith('.proxy'))) return;
  if (url?.username || url?.search) {
    throw new ProxyCacheError(
      'invalid-options',
      `${path}: expected a URL without user, password or query; credentials belong into auth`,
    );
  }
  const meant = text === 'docker.io' ? 'registry-1.docker.io' : text;
  const hint = /^[a-z0-9.-]+(:\d+)?(\/.*)?$/i.test(text) ? `; did you mean "https://${meant}"?` : '';
  throw invalid(path, 'an http(s) URL', value, hint);
}
