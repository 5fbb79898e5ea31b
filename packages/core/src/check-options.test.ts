import { describe, expect, it } from 'vitest';
import { checkOptions } from './check-options.ts';
import { createProxyCache } from './proxy-cache.ts';
import { localCoordinator } from './store/local-coordinator.ts';
import { memoryStorage } from './store/memory-storage.ts';

const secret = 'x'.repeat(32);
const hook = (): boolean => true;
const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';
const key = '-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\n';
const upstream = { key: 'hub', url: 'https://registry.example' };
const admit = () => ({ allow: true });
const options = (fields: object) => ({ upstreams: [upstream], storage: memoryStorage(), ...fields });
const check = (fields: object) => checkOptions(options(fields) as never);
const checkUpstream = (fields: object) => check({ upstreams: [{ ...upstream, ...fields }] });

describe('options', () => {
  it.each([
    {},
    { upstreams: [upstream, { ...upstream, key: 'other' }], defaultUpstream: 'hub', reservedKeys: ['gone'] },
    { memory: { manifests: 0, buffers: 0 }, maxIngests: 1, maxRequests: 1, minFree: 0 },
    { catalog: true, publicContent: false, publicUrl: 'https://mirror.example/', observer: () => undefined },
    {
      storage: { ...memoryStorage(), coordinator: localCoordinator() },
      peers: { url: 'http://10.0.0.7:5000/images/', secret },
    },
    { callerKey: secret, upstreams: [{ ...upstream, credentials: 'caller', auth: 'anonymous', endpoints: [] }] },
    { memory: undefined, clock: undefined, observer: undefined, publicUrl: undefined },
    { access: {} },
    { access: { authenticate: () => undefined, authorize: () => true, anonymous: false, within: 100, audit: false } },
    { access: { audit: true }, publicContent: true },
  ])('may be %j', (fields) => {
    expect(() => check(fields)).not.toThrow();
  });

  it.each([
    [{ upstreams: undefined }, 'upstreams: expected at least one upstream, such as dockerHub(), received undefined'],
    [{ upstreams: [] }, 'upstreams: expected at least one upstream, such as dockerHub(), received an empty list'],
    [{ upstreams: {} }, 'upstreams: expected at least one upstream, such as dockerHub(), received an object'],
    [{ upstreams: ['docker-hub'] }, 'upstreams[0]: expected an object, received "docker-hub"'],
    [{ upstreams: [upstream, null] }, 'upstreams[1]: expected an object, received null'],
    [{ upstream: [upstream] }, 'upstream: there is no such option; did you mean upstreams?'],
    [{ maxrequests: 1 }, 'maxrequests: there is no such option; did you mean maxRequests?'],
    [{ somethingElse: 1 }, 'somethingElse: there is no such option'],
    [{ storage: undefined }, 'storage: expected an object, received undefined'],
    [{ storage: '/data' }, 'storage: expected an object, received "/data"; did you mean fileStorage("/data")?'],
    [{ storage: {} }, 'storage.blobs: expected an object, received undefined'],
    [{ storage: { blobs: {} } }, 'storage.blobs.open: expected a function, received undefined'],
    [
      { storage: { ...memoryStorage(), metadata: { get: () => undefined } } },
      'storage.metadata.getMany: expected a function, received undefined',
    ],
    [
      { storage: { ...memoryStorage(), coordinator: { ...localCoordinator(), holder: undefined } } },
      'storage.coordinator.holder: expected a function, received undefined',
    ],
    [
      { storage: { ...memoryStorage(), spoolDirectory: '' } },
      'storage.spoolDirectory: expected a local folder, received ""',
    ],
    [{ callerKey: 'short' }, 'callerKey: expected a text of at least 32 bytes, received 5 bytes'],
    [
      { upstreams: [{ ...upstream, credentials: 'callers' }] },
      'upstreams[0].credentials: expected "own" or "caller", received "callers"',
    ],
    [
      { upstreams: [{ ...upstream, credentials: 'caller', auth: { username: 'u', password: 'p' } }] },
      "upstreams[0].auth: expected no credential of our own beside credentials: 'caller', received an object",
    ],
    [
      { upstreams: [{ ...upstream, credentials: 'caller', endpoints: ['https://a.example'] }] },
      "upstreams[0].endpoints: expected none beside credentials: 'caller', which were given for url alone, received a list",
    ],
    [
      { upstreams: [{ ...upstream, credentials: 'caller', linkValidFor: Number.POSITIVE_INFINITY }] },
      "upstreams[0].linkValidFor: expected a duration that ends beside credentials: 'caller', as rights do, received Infinity",
    ],
    [
      { upstreams: [{ ...upstream, credentials: 'caller', onDenied: 'serve-stale' }] },
      `upstreams[0].onDenied: expected "refuse" beside credentials: 'caller', received "serve-stale"`,
    ],
    [
      { upstreams: [{ ...upstream, credentials: 'caller', onAbsent: 'serve-stale' }] },
      `upstreams[0].onAbsent: expected "refuse" beside credentials: 'caller', received "serve-stale"`,
    ],
    [
      { upstreams: [{ ...upstream, serveUnproven: 1 }] },
      'upstreams[0].serveUnproven: expected true or false, received 1',
    ],
    [
      { upstreams: [{ ...upstream, include: ['library/*'] }] },
      'upstreams[0].include: expected an object, received a list',
    ],
    [
      { upstreams: [{ ...upstream, exclude: { tag: ['latest'] } }] },
      'upstreams[0].exclude.tag: there is no such option; did you mean tags?',
    ],
    [
      { upstreams: [{ ...upstream, exclude: { tags: ['1', '!2'] } }] },
      'upstreams[0].exclude.tags[1]: expected a pattern such as "library/*", without "!", received "!2"',
    ],
    [
      { upstreams: [{ ...upstream, include: { repositories: ['team/[ab'] } }] },
      'upstreams[0].include.repositories[0]: expected a pattern such as "library/*", with each bracket closed, received "team/[ab"',
    ],
    [{ admission: {} }, 'admission.admit: expected a function, received undefined'],
    [{ admission: () => true }, 'admission: expected an object, received a function'],
    [{ admission: { admit: 'yes' } }, 'admission.admit: expected a function, received "yes"'],
    [{ admission: { admit, admits: 1 } }, 'admission.admits: there is no such option; did you mean admit?'],
    [
      { admission: { admit, upstreams: ['hub', 'nub'] } },
      'admission.upstreams[1]: expected the key of an upstream, received "nub"',
    ],
    [
      { admission: { admit, version: 7 } },
      'admission.version: expected a text, or a function that gives one, received 7',
    ],
    [{ admission: { admit, within: 0 } }, 'admission.within: expected a duration of 1 ms or more, received 0'],
    [
      { admission: { admit, decisionFor: '5' } },
      'admission.decisionFor: expected a duration such as 500, "10s" or "7d", received "5"',
    ],
    [{ peers: 'http://a' }, 'peers: expected an object, received "http://a"'],
    [{ peers: { secret } }, 'peers.url: expected an http(s) URL, received undefined'],
    [
      { peers: { url: 'a:5000', secret } },
      'peers.url: expected an http(s) URL, received "a:5000"; did you mean "https://a:5000"?',
    ],
    [{ peers: { url: 'http://a', secret, key: 1 } }, 'peers.key: there is no such option'],
    [{ peers: { url: 'http://a' } }, 'peers.secret: expected a text of at least 32 bytes, received 0 bytes'],
    [
      { peers: { url: 'http://a', secret: 'too short' } },
      'peers.secret: expected a text of at least 32 bytes, received 9 bytes',
    ],
    [
      { peers: { url: 'http://a', secret } },
      'storage.coordinator: expected a coordinator, as peers is set, received undefined',
    ],
    [{ access: 'all' }, 'access: expected an object, received "all"'],
    [{ access: { authorise: () => true } }, 'access.authorise: there is no such option; did you mean authorize?'],
    [{ access: { authorize: true } }, 'access.authorize: expected a function, received true'],
    [{ access: { handle: {} } }, 'access.handle: expected a function, received an object'],
    [
      { access: { handle: Object.assign(hook, { owns: ['/token'] }) } },
      'access.handle.owns: expected a function, received a list',
    ],
    [{ access: { anonymous: 'no' } }, 'access.anonymous: expected true or false, received "no"'],
    [{ access: { within: 0 } }, 'access.within: expected a duration of 1 ms or more, received 0'],
    [
      { access: { authorize: hook, anonymous: false } },
      'access.anonymous: expected true without access.authenticate, as nobody could be let in, received false',
    ],
    [
      { access: { authorize: hook }, publicContent: true },
      'publicContent: expected false beside access.authenticate or access.authorize, as a shared cache in front asks neither, received true',
    ],
    [{ reservedKeys: 'gone' }, 'reservedKeys: expected a list, each a key such as "docker-hub", received "gone"'],
    [{ reservedKeys: [1] }, 'reservedKeys[0]: expected a key such as "docker-hub", received 1'],
    [{ memory: 64 }, 'memory: expected an object, received 64'],
    [{ memory: { manifests: -1 } }, 'memory.manifests: expected a whole number from 0, received -1'],
    [{ memory: { buffers: '64MiB' } }, 'memory.buffers: expected a whole number from 0, received "64MiB"'],
    [{ memory: { buffer: 1 } }, 'memory.buffer: there is no such option; did you mean buffers?'],
    [{ maxIngests: 0 }, 'maxIngests: expected a whole number from 1, received 0'],
    [{ maxRequests: 1.5 }, 'maxRequests: expected a whole number from 1, received 1.5'],
    [{ maxRequests: Number.NaN }, 'maxRequests: expected a whole number from 1, received NaN'],
    [{ verifyOnRead: true }, 'verifyOnRead: expected "never" or "first", received true'],
    [{ offload: true }, 'offload: expected "auto" or "off" or "hash" or "ingest", received true'],
    [{ threads: 0 }, 'threads: expected a whole number from 1, received 0'],
    [{ minFree: '10%' }, 'minFree: expected a whole number from 0, received "10%"'],
    [{ catalog: 'yes' }, 'catalog: expected true or false, received "yes"'],
    [{ publicContent: 1 }, 'publicContent: expected true or false, received 1'],
    [
      { publicUrl: 'mirror.example' },
      'publicUrl: expected an http(s) URL, received "mirror.example"; did you mean "https://mirror.example"?',
    ],
    [{ observer: {} }, 'observer: expected a function, received an object'],
    [{ clock: Date }, 'clock: expected an object, received a function'],
    [{ clock: { now: Date.now } }, 'clock.monotonic: expected a function, received undefined'],
  ])('%j are refused by path, expectation and value', (fields, message) => {
    expect(() => check(fields)).toThrow(expect.objectContaining({ code: 'invalid-options', message }));
  });

  it.each([
    [undefined, 'options: expected an object, received undefined'],
    ['docker-hub', 'options: expected an object, received "docker-hub"'],
    [[upstream], 'options: expected an object, received a list'],
  ])('as a whole that are %j are refused', (given, message) => {
    expect(() => checkOptions(given as never)).toThrow(expect.objectContaining({ message }));
  });

  it('that contradict one another are refused by createProxyCache', () => {
    const create = (fields: object) => () => createProxyCache(options(fields) as never);
    expect(create({ upstreams: [upstream, upstream] })).toThrow('upstreams[1].key: "hub" is another upstream');
    expect(create({ defaultUpstream: 'docker' })).toThrow('defaultUpstream: expected one of "hub", received "docker"');
    expect(create({ reservedKeys: ['hub'] })).toThrow('upstreams[0].key: "hub" is one of reservedKeys');
  });
});

describe('options of an upstream', () => {
  it.each([
    { hosts: ['docker.io', 'reg.corp:5000', '[::1]:5000'] },
    { allowPrivate: ['cdn.corp', 'cdn.corp:8443', '10.0.0.0/8', 'fd00::1'] },
    { tokenHosts: ['auth.corp', 'auth.corp:8443', '[::1]:5000'] },
    { auth: 'anonymous' },
    { auth: { username: 'ann', password: '' } },
    { auth: { token: 'x' } },
    { auth: async () => ({ token: 'x' }) },
    { auth: { usernameFile: '/a', passwordFile: '/b' } },
    { auth: { helper: 'ecr-login' } },
    { auth: { exec: ['get-token'], lifetime: '1h' } },
    { freshFor: 0, staleIfErrorFor: Number.POSITIVE_INFINITY, absentFor: '1.5h', linkValidFor: '7d' },
    {
      timeouts: {},
      breaker: { failures: 1, openFor: 1 },
      manifestWithin: 1,
      resumeWithin: 0,
      proxy: 'http://user:pass@proxy.corp:3128',
    },
    { tls: { ca: [pem, pem], cert: pem, key: pem, insecure: true } },
    { tls: {} },
    { url: 'http://10.0.0.1:5000/registry/' },
    { url: 'https://registry.example/v2/hub' },
    { endpoints: [] },
    { endpoints: ['https://mirror.example', { url: 'http://10.0.0.1:5000', auth: { token: 'x' }, tls: { ca: pem } }] },
    {
      endpoints: [{ url: 'https://m.example', tokenHosts: ['auth.corp'], allowPrivate: [], proxy: 'http://u:p@proxy' }],
    },
    { retry: {} },
    { retry: { maxWait: Number.POSITIVE_INFINITY } },
    { retry: { minWait: '1s', maxWait: 1_000 }, breaker: { openFor: '5m', maxOpenFor: '5m' } },
    { retry: { attempts: 1, minWait: 0, maxWait: '1m', budget: 1 } },
  ])('may be %j', (fields) => {
    expect(() => checkUpstream(fields)).not.toThrow();
  });

  it.each([
    [{ key: undefined }, 'key: expected a key such as "docker-hub", received undefined'],
    [
      { key: 'Hub' },
      'key: expected only lowercase letters, digits, ".", "_" and "-", received "Hub"; did you mean "hub"?',
    ],
    [{ url: undefined }, 'url: expected an http(s) URL such as "https://registry.example", received undefined'],
    [
      { url: 'docker.io' },
      'url: expected the URL of a registry, received "docker.io"; did you mean "https://registry-1.docker.io"?',
    ],
    [
      { url: 'https://hub.docker.com/' },
      'url: expected the URL of a registry, received "https://hub.docker.com/"; did you mean "https://registry-1.docker.io"?',
    ],
    [{ url: 'ghcr.io' }, 'url: expected an http(s) URL, received "ghcr.io"; did you mean "https://ghcr.io"?'],
    [{ url: 'ftp://reg.example' }, 'url: expected an http(s) URL, received "ftp://reg.example"'],
    [
      { url: 'https://reg.example/v2/' },
      'url: expected the URL that /v2/ is below, received "https://reg.example/v2/"; leave /v2 out, every request adds it',
    ],
    [{ hosts: 'docker.io' }, 'hosts: expected a list, each a host or host:port, received "docker.io"'],
    [{ hosts: ['https://docker.io'] }, 'hosts[0]: expected a host or host:port, received "https://docker.io"'],
    [{ tokenHosts: ['auth.corp/token'] }, 'tokenHosts[0]: expected a host or host:port, received "auth.corp/token"'],
    [
      { allowPrivate: ['10.0.0.0/33'] },
      'allowPrivate[0]: expected a host, an address or a CIDR block, received "10.0.0.0/33"',
    ],
    [{ library: 'true' }, 'library: expected true or false, received "true"'],
    [{ deniedMayMeanAbsent: 1 }, 'deniedMayMeanAbsent: expected true or false, received 1'],
    [{ ownVoice: [''] }, 'ownVoice[0]: expected a text, received ""'],
    [{ freshfor: '1m' }, 'freshfor: there is no such option; did you mean freshFor?'],
    [{ freshFor: '10 minutes' }, 'freshFor: expected a duration such as 500, "10s" or "7d", received "10 minutes"'],
    [{ staleIfErrorFor: -1 }, 'staleIfErrorFor: expected a duration such as 500, "10s" or "7d", received -1'],
    [{ absentFor: null }, 'absentFor: expected a duration such as 500, "10s" or "7d", received null'],
    [{ manifestWithin: 0 }, 'manifestWithin: expected a duration of 1 ms or more, received 0'],
    [{ resumeWithin: '2 min' }, 'resumeWithin: expected a duration such as 500, "10s" or "7d", received "2 min"'],
    [{ timeouts: '5s' }, 'timeouts: expected an object, received "5s"'],
    [{ timeouts: { conect: 1 } }, 'timeouts.conect: there is no such option; did you mean connect?'],
    [{ timeouts: { idle: '0s' } }, 'timeouts.idle: expected a duration of 1 ms or more, received "0s"'],
    [{ breaker: 3 }, 'breaker: expected an object, received 3'],
    [{ breaker: { openfor: 1 } }, 'breaker.openfor: there is no such option; did you mean openFor?'],
    [{ breaker: { failures: 0 } }, 'breaker.failures: expected a whole number from 1, received 0'],
    [{ breaker: { openFor: 0 } }, 'breaker.openFor: expected a duration of 1 ms or more, received 0'],
    [
      { breaker: { maxOpenFor: Number.POSITIVE_INFINITY } },
      'breaker.maxOpenFor: expected a duration that ends, received Infinity',
    ],
    [{ onAbsent: 'serve' }, 'onAbsent: expected "refuse" or "serve-stale", received "serve"'],
    [{ onDenied: true }, 'onDenied: expected "refuse" or "serve-stale", received true'],
    [{ coldRange: 'wait' }, 'coldRange: expected "pass" or "verify", received "wait"'],
    [{ prefetch: true }, 'prefetch: expected "off" or "layers", received true'],
    [{ limits: 2 }, 'limits: expected an object, received 2'],
    [{ limits: { maxConnections: 0 } }, 'limits.maxConnections: expected a whole number from 1, received 0'],
    [{ limits: { queueFor: 0 } }, 'limits.queueFor: expected a duration of 1 ms or more, received 0'],
    [{ limits: { bytesPerSecond: 1 } }, 'limits.bytesPerSecond: expected a whole number from 1024, received 1'],
    [{ limits: { maxBlobBytes: 0 } }, 'limits.maxBlobBytes: expected a whole number from 1, received 0'],
    [{ limits: { connections: 2 } }, 'limits.connections: there is no such option; did you mean maxConnections?'],
    [{ connections: 2 }, 'connections: there is no such option; did you mean limits.maxConnections?'],
    [{ queueFor: '1s' }, 'queueFor: there is no such option; did you mean limits.queueFor?'],
    [{ segments: true }, 'segments: expected false, or an object such as { connections: 8 }, received true'],
    [{ segments: { connections: 1 } }, 'segments.connections: expected a whole number from 2, received 1'],
    [{ segments: { minSize: 1 } }, 'segments.minSize: expected a whole number from 1048576, received 1'],
    [{ segments: { minsize: 1 } }, 'segments.minsize: there is no such option; did you mean minSize?'],
    [{ maxManifestBytes: '4MiB' }, 'maxManifestBytes: expected a whole number from 1, received "4MiB"'],
    [
      { proxy: 'proxy.corp:3128' },
      'proxy: expected an http(s) URL, received "proxy.corp:3128"; did you mean "https://proxy.corp:3128"?',
    ],
    [{ tls: true }, 'tls: expected an object, received true'],
    [{ tls: { ca: '/etc/ca.pem' } }, 'tls.ca: expected PEM text, which has a "-----BEGIN " line'],
    [{ tls: { cert: pem } }, 'tls: expected cert and key together, received one of them'],
    [{ tls: { ca: [pem, `${pem}${key}`] } }, 'tls.ca: expected certificates alone; a private key belongs into tls.key'],
    [
      { tls: { cert: `${pem}${key}`, key } },
      'tls.cert: expected certificates alone; a private key belongs into tls.key',
    ],
    [{ tls: { rejectUnauthorized: false } }, 'tls.rejectUnauthorized: there is no such option'],
    [{ tls: { insecure: 'yes' } }, 'tls.insecure: expected true or false, received "yes"'],
    [
      { endpoints: 'https://mirror.example' },
      'endpoints: expected a list of URLs and endpoints, received "https://mirror.example"',
    ],
    [
      { endpoints: ['mirror.example'] },
      'endpoints[0]: expected an http(s) URL, received "mirror.example"; did you mean "https://mirror.example"?',
    ],
    [{ endpoints: [1] }, 'endpoints[0]: expected an object, received 1'],
    [
      { endpoints: ['https://a.example', { url: 'docker.io' }] },
      'endpoints[1].url: expected the URL of a registry, received "docker.io"; did you mean "https://registry-1.docker.io"?',
    ],
    [{ endpoints: [{ url: 'https://a.example', freshFor: 0 }] }, 'endpoints[0].freshFor: there is no such option'],
    [
      { endpoints: [{ url: 'https://a.example', tls: { cert: pem } }] },
      'endpoints[0].tls: expected cert and key together, received one of them',
    ],
    [{ retry: 3 }, 'retry: expected an object, received 3'],
    [{ retry: { attempt: 3 } }, 'retry.attempt: there is no such option; did you mean attempts?'],
    [{ retry: { attempts: 0 } }, 'retry.attempts: expected a whole number from 1, received 0'],
    [{ retry: { minWait: '1 s' } }, 'retry.minWait: expected a duration such as 500, "10s" or "7d", received "1 s"'],
    [{ retry: { maxWait: -1 } }, 'retry.maxWait: expected a duration such as 500, "10s" or "7d", received -1'],
    [
      { retry: { minWait: Number.POSITIVE_INFINITY } },
      'retry.minWait: expected a duration that ends, received Infinity',
    ],
    [
      { retry: { minWait: '2s', maxWait: '1s' } },
      'retry.maxWait: expected at least minWait, which is "2s", received "1s"',
    ],
    [{ retry: { minWait: '6s' } }, 'retry.minWait: expected at most maxWait, which is "5s" by default, received "6s"'],
    [{ retry: { maxWait: 9 } }, 'retry.maxWait: expected at least minWait, which is "100ms" by default, received 9'],
    [
      { breaker: { openFor: '5m' } },
      'breaker.openFor: expected at most maxOpenFor, which is "60s" by default, received "5m"',
    ],
    [
      { breaker: { openFor: '5m', maxOpenFor: '4m' } },
      'breaker.maxOpenFor: expected at least openFor, which is "5m", received "4m"',
    ],
    [{ retry: { budget: 20 } }, 'retry.budget: expected a share from 0 to 1, received 20'],
  ])('%j are refused by path, expectation and value', (fields, message) => {
    expect(() => checkUpstream(fields)).toThrow(
      expect.objectContaining({ code: 'invalid-options', message: `upstreams[0].${message}` }),
    );
  });

  it.each([
    { auth: 's3cr3t' },
    { auth: { user: 's3cr3t' } },
    { auth: { username: 'ann' } },
    { auth: { token: 1 } },
    { auth: { helper: '../../bin/sh' } },
    { auth: { exec: [] } },
    { auth: { exec: [1] } },
    { auth: null },
  ])('%j is no way to authenticate', (fields) => {
    expect(() => checkUpstream(fields)).toThrow(/^upstreams\[0\]\.auth: expected "anonymous", \{username, password\}/);
  });

  it.each([
    { auth: 's3cr3t' },
    { auth: { user: 's3cr3t' } },
    { auth: { password: 's3cr3t' } },
    { url: 'https://ann:s3cr3t@reg.example' },
    { url: 'https://ann:s3cr3t@reg.example:99999' },
    { url: 'ann:s3cr3t@reg.example' },
    { url: 'https://reg.example?token=s3cr3t' },
    { url: 'ftp://ann:s3cr3t@reg.example' },
    { url: { username: 's3cr3t' } },
    { url: ['s3cr3t'] },
    { proxy: 'socks5://ann:s3cr3t@proxy' },
    { proxy: 'http://ann:s3cr3t@proxy:99999' },
    { tls: 's3cr3t' },
    { tls: { key: 's3cr3t' } },
    { tls: { ca: ['s3cr3t'] } },
    { hosts: [{ password: 's3cr3t' }] },
    { freshFor: { token: 's3cr3t' } },
    { endpoints: [{ url: 'https://a.example', auth: 's3cr3t' }] },
    { endpoints: ['https://ann:s3cr3t@reg.example'] },
    { endpoints: { password: 's3cr3t' } },
    { url: 'https://reg.example/?token=s3cr3t' },
    { proxy: 'socks5://proxy/?token=s3cr3t' },
    { hosts: ['https://cdn.example/?token=s3cr3t'] },
  ])('%j is refused without a word of what may be secret', (fields) => {
    let error: unknown;
    try {
      checkUpstream(fields);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'invalid-options' });
    expect(String((error as Error).stack) + JSON.stringify((error as Error).cause)).not.toContain('s3cr3t');
  });
});
