import { availableParallelism } from 'node:os';
import type { ProxyCacheOptions, UpstreamOptions, UpstreamTls } from '@proxycache/core';
import { describe, expect, expectTypeOf, test } from 'vitest';
import type { Config } from './config-schema.ts';
import type { UpstreamConfig } from './config-upstream.ts';
import { parseConfig } from './load-config.ts';

/** `{ upstreams: [{ ...upstream, source: 'ghcr' }] }` */
const withUpstream = (upstream: Record<string, unknown>) => ({ upstreams: [{ source: 'ghcr', ...upstream }] });

function upstreamOf(upstream: Record<string, unknown>): UpstreamConfig {
  return parseConfig(withUpstream(upstream), {}).upstreams![0]!;
}

function problemsOf(input: unknown): string[] {
  try {
    parseConfig(input, {});
  } catch (error) {
    return (error as Error).message.trim().split('\n  ');
  }
  return [];
}

test('an empty file means all defaults', () => {
  expect(parseConfig(null, {})).toEqual({
    storage: { directory: './proxycache-data' },
    listen: { host: '127.0.0.1', port: 5000 },
    workers: 1,
    allowAnonymous: false,
    trustedProxies: [],
    limits: { maxConnections: 16_384, shutdownWithin: 8000, shutdownIngests: 'finish' },
    log: { level: 'info', requests: true },
  });
});

test('the configuration has every option of core that a file can say', () => {
  type InCode = 'observer' | 'tracing' | 'clock' | 'storage' | 'upstreams';
  type Elsewhere = keyof Config | keyof Config['limits'] | keyof Config['storage'];
  expectTypeOf<Exclude<keyof ProxyCacheOptions, InCode | Elsewhere>>().toEqualTypeOf<never>();
  expectTypeOf<Exclude<keyof UpstreamOptions, keyof UpstreamConfig>>().toEqualTypeOf<never>();
  expectTypeOf<Exclude<keyof UpstreamTls, keyof NonNullable<UpstreamConfig['tls']>>>().toEqualTypeOf<never>();
});

describe('values', () => {
  test.each([1, '2', 256])('workers %j is that many', (given) => {
    expect(parseConfig({ workers: given }, {}).workers).toBe(Number(given));
  });

  test.each([0, 'auto', '0'])('workers %j is one a core', (given) => {
    expect(parseConfig({ workers: given }, {}).workers).toBe(availableParallelism());
  });

  test('peers want a Redis, by which they agree; the workers of a host may be many', () => {
    const peers = { url: 'http://10.0.0.7:5000', secret: '0'.repeat(32) };
    const storage = { metadata: { redis: { url: 'redis://127.0.0.1' } } };
    expect(parseConfig({ peers, storage, workers: 2 }, {}).peers).toEqual(peers);
    expect(problemsOf({ peers })).toEqual([expect.stringContaining('peers: expected storage.metadata.redis')]);
    expect(problemsOf({ storage, peers: { ...peers, secret: 271_828 } }).join()).not.toContain('271828');
  });

  test.each([257, -1, 1.5, 'all'])('workers %j is refused', (given) => {
    expect(problemsOf({ workers: given })).toEqual([
      expect.stringContaining('workers: expected an integer from 1 to 256, or "auto" for one a core, received'),
    ]);
  });

  test.each([
    [0, 0],
    ['250', 250],
    ['500ms', 500],
    ['10s', 10_000],
    ['1.5m', 90_000],
    ['12h', 43_200_000],
    ['7d', 604_800_000],
    ['unlimited', Number.POSITIVE_INFINITY],
  ])('freshFor %j is %d ms', (given, ms) => {
    expect(upstreamOf({ freshFor: given }).freshFor).toBe(ms);
  });

  test.each([
    [65_536, 65_536],
    ['65536', 65_536],
    ['4MiB', 4_194_304],
    ['1.5 GiB', 1_610_612_736],
  ])('a size of %j is %d bytes', (given, bytes) => {
    expect(upstreamOf({ maxManifestBytes: given }).maxManifestBytes).toBe(bytes);
  });

  test('numbers and booleans may come as text, as the environment gives them', () => {
    const input = { listen: { port: `\${PORT}` }, allowAnonymous: `\${OPEN}`, log: { requests: `\${LOG}` } };
    const config = parseConfig(input, { PORT: '8080', OPEN: 'true', LOG: 'false' });
    expect(config).toMatchObject({ listen: { port: 8080 }, allowAnonymous: true, log: { requests: false } });
  });

  test.each<[string, Record<string, unknown>]>([
    ['anonymous', { auth: 'anonymous' }],
    ['a user and a password', { auth: { password: 'p', username: 'u' } }],
    ['a token', { auth: { token: 't' } }],
    ['files', { auth: { usernameFile: 'u', passwordFile: 'p' } }],
    ['a credential helper', { auth: { helper: 'pass' } }],
    ['a program', { auth: { exec: ['print-token', '--json'] } }],
    ['a program and how long its answer holds', { auth: { exec: ['print-token'], lifetime: 3_600_000 } }],
    ['one authority', { tls: { ca: 'ca.pem' } }],
    ['several authorities and a client certificate', { tls: { ca: ['a.pem', 'b.pem'], cert: 'c', key: 'k' } }],
    ['source hosts', { hosts: ['docker.io', 'localhost:5001', '[::1]:5001'] }],
    [
      'endpoints',
      { endpoints: ['https://a.example', { url: 'https://b.example', auth: { token: 't' }, tls: { ca: 'c' } }] },
    ],
    ['retries', { retry: { attempts: 1, minWait: 100, maxWait: 5_000, budget: 0.5 } }],
    ['a proxy with credentials', { proxy: 'http://user:pass@proxy.example:3128' }],
  ])('an upstream may have %s', (_, given) => {
    expect(upstreamOf(given)).toEqual({ source: 'ghcr', ...given });
  });
});

describe('a wrong value names its path, what was expected and what was received', () => {
  const duration = 'expected a duration such as "500ms", "10s", "5m", "12h" or "7d"';
  const url = 'expected an http(s) URL without user, query and fragment';

  test.each<[unknown, string]>([
    [[], 'the configuration: expected keys and their values, received a list'],
    ['x', 'the configuration: expected keys and their values, received a string that is not shown'],
    [{ storage: './data' }, 'storage: expected keys and their values, received a string that is not shown'],
    [{ metrics: 9464 }, 'metrics: expected keys and their values, received a number that is not shown'],
    [{ storage: { directory: 5 } }, 'storage.directory: expected text that is not empty, received 5; put it in quotes'],
    [
      { storage: { verifyOnRead: 'always' } },
      'storage.verifyOnRead: expected one of "never", "first", received "always"',
    ],
    [{ storage: { minFree: '5GB' } }, 'storage.minFree: expected a size such as 65536 or "64MiB", received "5GB"'],
    [{ storage: { durable: 'yes' } }, 'storage.durable: expected true or false, received "yes"'],
    [{ listen: { host: '' } }, 'listen.host: expected text that is not empty, received ""'],
    [{ listen: { port: 65_536 } }, 'listen.port: expected an integer from 0 to 65535, received 65536'],
    [{ listen: { port: 80.5 } }, 'listen.port: expected an integer from 0 to 65535, received 80.5'],
    [{ listen: { port: null } }, 'listen.port: expected an integer from 0 to 65535, received nothing'],
    [{ listen: { tls: { cert: 'c.pem' } } }, 'listen.tls.key: expected text that is not empty, received nothing'],
    [{ allowAnonymous: 1 }, 'allowAnonymous: expected true or false, received 1'],
    [
      { publicUrl: 'https://mirror.example/registry' },
      'publicUrl: expected an http(s) URL without user, path, query and fragment, received "https://mirror.example/registry"',
    ],
    [
      { trustedProxies: ['10.0.0.1', '10.0.0.0/33'] },
      'trustedProxies[1]: expected an IP address or a CIDR block such as "10.0.0.0/8", received "10.0.0.0/33"',
    ],
    [{ upstreams: { ghcr: {} } }, 'upstreams: expected a list, received the keys ghcr'],
    [{ upstreams: [{}] }, 'upstreams[0]: expected a `source`, or a `key` and a `url`, received the keys (none)'],
    [
      { upstreams: [{ url: 'https://registry.example' }] },
      'upstreams[0]: expected a `source`, or a `key` and a `url`, received the keys url',
    ],
    [
      { upstreams: [{ source: 'harbor' }] },
      'upstreams[0].url: expected its URL, which this `source` does not know, received nothing',
    ],
    [{ defaultUpstream: ['a'] }, 'defaultUpstream: expected text that is not empty, received a list'],
    [{ reservedKeys: 'old' }, 'reservedKeys: expected a list, received "old"'],
    [{ catalog: 'on' }, 'catalog: expected true or false, received "on"'],
    [{ limits: { maxRequests: 0 } }, 'limits.maxRequests: expected an integer from 1 to 1000000, received 0'],
    [
      { limits: { memory: { buffers: 0 } } },
      'limits.memory.buffers: expected a size such as 65536 or "64MiB", at least 1, received 0',
    ],
    [{ limits: { shutdownWithin: 'unlimited' } }, `limits.shutdownWithin: ${duration}, received "unlimited"`],
    [
      { log: { level: 'warning' } },
      'log.level: expected one of "fatal", "error", "warn", "info", "debug", "trace", "silent", received "warning"',
    ],
    [withUpstream({ key: 7 }), 'upstreams[0].key: expected text that is not empty, received 7; put it in quotes'],
    [
      { upstreams: [{ key: 'hub', url: 'docker.io' }] },
      `upstreams[0].url: ${url}, received "docker.io"; did you mean "https://registry-1.docker.io"?`,
    ],
    [
      { upstreams: [{ key: 'own', url: 'registry.example:5000' }] },
      `upstreams[0].url: ${url}, received "registry.example:5000"; did you mean "https://registry.example:5000"?`,
    ],
    [withUpstream({ url: 'ftp://registry.example' }), `upstreams[0].url: ${url}, received "ftp://registry.example"`],
    [
      withUpstream({ hosts: ['https://ghcr.io'] }),
      'upstreams[0].hosts[0]: expected a host, or host:port, without scheme and path, received "https://ghcr.io"',
    ],
    [withUpstream({ freshFor: '10 s' }), `upstreams[0].freshFor: ${duration}, or "unlimited", received "10 s"`],
    [withUpstream({ absentFor: -1 }), `upstreams[0].absentFor: ${duration}, received -1`],
    [
      withUpstream({ onAbsent: 'serve-stail' }),
      'upstreams[0].onAbsent: expected one of "refuse", "serve-stale", received "serve-stail"; did you mean "serve-stale"?',
    ],
    [withUpstream({ coldRange: 'wait' }), 'upstreams[0].coldRange: expected one of "pass", "verify", received "wait"'],
    [withUpstream({ timeouts: { idle: true } }), `upstreams[0].timeouts.idle: ${duration}, received true`],
    [
      withUpstream({ limits: { maxConnections: '0' } }),
      'upstreams[0].limits.maxConnections: expected an integer from 1 to 10000, received "0"',
    ],
    [
      withUpstream({ auth: 'none' }),
      'upstreams[0].auth: expected "anonymous", or keys such as username and password, received a string that is not shown',
    ],
    [
      withUpstream({ auth: { exec: [] } }),
      'upstreams[0].auth.exec: expected a program and its arguments, received a list',
    ],
    [
      withUpstream({ tls: { cert: 'c.pem' } }),
      'upstreams[0].tls: expected both cert and key, or neither, received the keys cert',
    ],
    [
      withUpstream({ tls: { ca: true } }),
      'upstreams[0].tls.ca: expected text that is not empty, received true; put it in quotes',
    ],
    [
      withUpstream({ endpoints: ['a.example'] }),
      `upstreams[0].endpoints[0]: ${url}, received "a.example"; did you mean "https://a.example"?`,
    ],
    [
      withUpstream({ endpoints: ['https://a.example', { url: 'https://u:p@b.example' }] }),
      `upstreams[0].endpoints[1].url: ${url}, received "…@b.example"`,
    ],
    [
      withUpstream({ endpoints: [{ url: 'https://a.example', hosts: [] }] }),
      'upstreams[0].endpoints[0].hosts: unknown key; expected one of url, auth, tokenHosts, allowPrivate, tls, proxy',
    ],
    [
      withUpstream({ retry: { attempts: 0 } }),
      'upstreams[0].retry.attempts: expected an integer from 1 to 100, received 0',
    ],
    [withUpstream({ retry: { budget: 2 } }), 'upstreams[0].retry.budget: expected a share from 0 to 1, received 2'],
    [withUpstream({ proxy: 'socks5://p' }), 'upstreams[0].proxy: expected an http(s) URL, received "socks5://p"'],
  ])('%j', (input, message) => {
    expect(problemsOf(input)).toEqual([message]);
  });

  test('auth with half a pair, or with two forms at once, lists the forms', () => {
    const forms =
      'expected the keys of one of {username,password}, {token}, {usernameFile,passwordFile}, {helper}, {exec}, {exec,lifetime}, {reference}';
    expect(problemsOf(withUpstream({ auth: { username: 'u' } }))).toEqual([
      `upstreams[0].auth: ${forms}, received the keys username`,
    ]);
    expect(problemsOf(withUpstream({ auth: { username: 'u', password: 'p', token: 't' } }))).toEqual([
      `upstreams[0].auth: ${forms}, received the keys username, password, token`,
    ]);
  });

  test('a misspelt source names the one that was meant', () => {
    expect(problemsOf({ upstreams: [{ source: 'dockerhub' }] })[0]).toMatch(
      /^upstreams\[0\]\.source: expected one of .*received "dockerhub"; did you mean "docker-hub"\?$/,
    );
  });

  test('all problems are said at once', () => {
    expect(problemsOf({ listen: { port: 'x' }, ...withUpstream({ freshFor: 'x' }) })).toHaveLength(2);
  });
});

describe('an unknown key is refused', () => {
  test.each<[unknown, string]>([
    [{ upstream: [] }, 'upstream: unknown key; did you mean "upstreams"?'],
    [{ listen: { hots: 'x' } }, 'listen.hots: unknown key; did you mean "host"?'],
    [{ listen: { address: 'x' } }, 'listen.address: unknown key; expected one of host, port, tls'],
    [withUpstream({ freshfor: 0 }), 'upstreams[0].freshfor: unknown key; did you mean "freshFor"?'],
    [withUpstream({ connections: 2 }), 'upstreams[0].connections: unknown key; did you mean "limits.maxConnections"?'],
    [withUpstream({ queueFor: 2 }), 'upstreams[0].queueFor: unknown key; did you mean "limits.queueFor"?'],
    [withUpstream({ tls: { CA: 'x' } }), 'upstreams[0].tls.CA: unknown key; did you mean "ca"?'],
    [{ limits: { memory: { buffer: 1 } } }, 'limits.memory.buffer: unknown key; did you mean "buffers"?'],
    [JSON.parse('{"__proto__": {}}'), '__proto__: unknown key; expected one of'],
  ])('%j', (input, message) => {
    expect(problemsOf(input)).toEqual([expect.stringContaining(message)]);
  });
});

describe('secrets are not shown', () => {
  const withRedis = (url: string) => ({ storage: { metadata: { redis: { url } } } });

  test('but the host that stands beside them', () => {
    const [problem] = problemsOf(withUpstream({ url: 'https://ghcr.io/v2?token=271828' }));
    expect(problem).toMatch(/, received "https:\/\/ghcr\.io\/v2\?…"$/);
  });

  test.each<[string, unknown]>([
    ['a password that is no text', withUpstream({ auth: { username: 'u', password: 271_828 } })],
    ['a misspelt key', withUpstream({ auth: { username: 'u', passwort: '271828' } })],
    ['a token with another form', withUpstream({ auth: { token: '271828', helper: 'pass' } })],
    ['an argument of a program', withUpstream({ auth: { exec: ['print', 271_828] } })],
    ['a URL with credentials', withUpstream({ url: 'https://user:271828@ghcr.io' })],
    ['a URL whose password breaks it', withUpstream({ url: 'https://user:x/271828@ghcr.io' })],
    ['a URL with a long password', withUpstream({ url: `https://user:${'271828'.repeat(60)}@ghcr.io` })],
    ['a Redis URL with a long password', withRedis(`http://user:${'271828'.repeat(60)}@redis.example`)],
    ['a Redis URL with no scheme and a long password', withRedis(`redis//user:${'271828'.repeat(60)}@redis.example`)],
    ['a URL with a secret in its query', withUpstream({ url: 'https://ghcr.io?token=271828' })],
    ['a URL with an address in its query', withUpstream({ url: 'https://ghcr.io/?user=ann@corp.example/271828' })],
    ['a URL with a secret in its fragment', withUpstream({ url: 'https://ghcr.io/#271828' })],
    ['a URL with a secret in its query and no scheme', withUpstream({ url: 'ghcr.io?token=271828' })],
    ['a URL whose password looks like a query', withUpstream({ url: 'https://user:271828?x#y@ghcr.io' })],
    ['a password of more than one line', withUpstream({ url: 'https://user:271828\u2028@ghcr.io' })],
    ['a URL with credentials and no scheme', withUpstream({ url: 'user:271828@ghcr.io' })],
    ['a proxy with credentials', withUpstream({ proxy: 'socks5://user:271828@proxy.example' })],
    ['a key', withUpstream({ tls: { cert: 'x', key: 271_828 } })],
    ['a secret of tokens', { access: { basic: { htpasswd: 'x' }, tokens: { secret: 271_828 } } }],
    ['a key of tokens', { access: { basic: { htpasswd: 'x' }, tokens: { privateKey: 271_828 } } }],
    ['a user in one text', { access: { basic: { users: ['ann:271828'] } } }],
    ['users in one text', { access: { basic: { users: 'ann:271828' } } }],
    ['a token in place of the keys of auth', withUpstream({ auth: '271828' })],
    ['a token in place of the keys of admin', { admin: '271828' }],
    ['a secret in place of the keys of peers', { peers: 271_828 }],
    ['a user in place of the keys of basic', { access: { basic: 'ann:271828' } }],
    ['a secret in place of the keys of tokens', { access: { basic: { htpasswd: 'x' }, tokens: '271828' } }],
    ['a password behind a colon without a space', withUpstream({ auth: { 'password:271828': null } })],
    ['a hash that is no text', { access: { basic: { users: [{ name: 'ann', hash: 271_828 }] } } }],
  ])('%s', (_, input) => {
    const problems = problemsOf(input);
    expect(problems).not.toEqual([]);
    expect(problems.join('\n')).not.toContain('271828');
  });
});
