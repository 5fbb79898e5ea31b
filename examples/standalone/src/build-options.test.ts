import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProxyCache, memoryStorage, type ProxyCacheOptions } from '@proxycache/core';
import { afterAll, describe, expect, test } from 'vitest';
import { applyFlags, buildOptions } from './build-options.ts';
import { parseFlags } from './flags.ts';
import { parseConfig } from './load-config.ts';
import { needsUrl, presetNames } from './presets.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-options-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Core's options for what a file in `folder` holds and the command line says. */
function build(input: unknown, ...args: string[]): ReturnType<typeof buildOptions> {
  const flags = parseFlags(args);
  return buildOptions(applyFlags({ config: parseConfig(input, {}), folder }, flags), flags.upstreams);
}

const keysOf = (options: Pick<ProxyCacheOptions, 'upstreams'>) => options.upstreams.map(({ key }) => key);
const own = { key: 'own', url: 'https://registry.example' };

describe('without upstreams in the configuration', () => {
  test('Docker Hub is the default upstream, beside other public registries', () => {
    const options = build({});
    expect(options.defaultUpstream).toBe('docker-hub');
    expect(keysOf(options)).toContain('docker-hub');
    expect(options.upstreams.flatMap(({ hosts }) => hosts)).toEqual(
      expect.arrayContaining(['docker.io', 'ghcr.io', 'quay.io', 'registry.k8s.io']),
    );
  });

  test('no key hides an account of Docker Hub', async () => {
    const warnings: string[] = [];
    const observer: ProxyCacheOptions['observer'] = (event) => {
      if (event.type === 'warning') warnings.push(event.message);
    };
    await createProxyCache({ ...build({}), storage: memoryStorage(), observer }).close();
    expect(warnings).toEqual([]);
  });

  test('--upstream adds to them', () => {
    const options = build({}, '--upstream', 'local=http://127.0.0.1:1', '--default-upstream', 'local');
    expect(options.upstreams.at(-1)).toEqual({ key: 'local', url: 'http://127.0.0.1:1', hosts: ['127.0.0.1:1'] });
    expect(options.defaultUpstream).toBe('local');
    expect(keysOf(options)).toContain('docker-hub');
  });
});

describe('with groups of upstreams in the configuration', () => {
  const groups = [
    {
      key: 'all',
      upstreams: ['own', 'docker-hub'],
      hosts: ['all.example'],
      pin: [{ repositories: ['team/**'], upstream: 'own' }],
    },
  ];
  const input = { upstreams: [own, { source: 'docker-hub' }], groups, defaultUpstream: 'all' };

  test('core has them as they are written, and a cache takes them', async () => {
    const options = build(input);
    expect(options.groups).toEqual(groups);
    const cache = createProxyCache({ ...options, storage: memoryStorage() });
    expect(await cache.groups.pins('all')).toEqual([]);
    await cache.close();
  });

  test('rules of access may be about them', () => {
    const rules = [{ upstream: 'all', allow: true }];
    const access = { basic: { users: [{ name: 'ann', password: 'x' }] }, rules };
    expect(() => build({ ...input, access })).not.toThrow();
  });
});

describe('with upstreams in the configuration', () => {
  test('there are these and no others, and no default', () => {
    const options = build({ upstreams: [own] });
    expect(options.upstreams).toEqual([{ ...own, hosts: ['registry.example'] }]);
    expect(options).not.toHaveProperty('defaultUpstream');
  });

  test('a source brings what is known of it, and what is written counts more', () => {
    const [hub] = build({ upstreams: [{ source: 'docker-hub', key: 'hub', freshFor: '1h' }] }).upstreams;
    expect(hub).toMatchObject({ key: 'hub', library: true, freshFor: 3_600_000, tokenHosts: ['auth.docker.io'] });
    expect(hub).not.toHaveProperty('source');
  });

  test('every source builds', () => {
    const upstreams = presetNames.map((source) => ({
      source,
      ...(needsUrl(source) && { url: `https://${source}.example` }),
    }));
    const built = build({ upstreams }).upstreams;
    expect(built).toHaveLength(presetNames.length);
    for (const { url } of built) expect(url).toMatch(/^https:/);
  });

  test('--upstream of a key that is there moves it, and leaves its credentials behind', () => {
    const input = {
      upstreams: [
        own,
        {
          source: 'docker-hub',
          auth: { username: 'u', password: 'p' },
          tls: { insecure: true },
          endpoints: ['https://mirror.example'],
        },
      ],
    };
    const options = build(input, '--upstream', 'docker-hub=http://127.0.0.1:1');
    expect(keysOf(options)).toEqual(['own', 'docker-hub']);
    expect(options.upstreams[1]).toMatchObject({ url: 'http://127.0.0.1:1', library: true });
    expect(options.upstreams[1]).not.toHaveProperty('auth');
    expect(options.upstreams[1]).not.toHaveProperty('tls');
    expect(options.upstreams[1]).not.toHaveProperty('endpoints');
  });

  test('a key that core refuses is refused with its path', () => {
    expect(() =>
      createProxyCache({ ...build({ upstreams: [own, { ...own, key: 'Own' }] }), storage: memoryStorage() }),
    ).toThrow('upstreams[1].key: expected only lowercase letters, digits, ".", "_" and "-", received "Own"');
  });
});

describe('paths', () => {
  test('those of the file start from its folder', () => {
    const auth = { usernameFile: 'user', passwordFile: '/run/secrets/password' };
    const options = build({ upstreams: [{ ...own, auth }] });
    expect(options.upstreams[0]?.auth).toEqual({
      usernameFile: join(folder, 'user'),
      passwordFile: '/run/secrets/password',
    });
  });

  test('--data starts from the working directory', () => {
    const { config } = applyFlags({ config: parseConfig({}, {}), folder }, parseFlags(['--data', 'elsewhere']));
    expect(config.storage.directory).toBe(join(process.cwd(), 'elsewhere'));
  });

  test('--workers is refused beside what is of one process, as it is in the file', () => {
    for (const part of [{ admin: { port: 0 } }, { metrics: { port: 0 } }]) {
      const loaded = { config: parseConfig(part, {}), folder };
      const message = `--workers: expected 1 beside ${Object.keys(part)[0]}`;
      expect(() => applyFlags(loaded, parseFlags(['--workers', '2']))).toThrow(message);
      expect(applyFlags(loaded, parseFlags(['--workers', '1'])).config.workers).toBe(1);
    }
  });

  test('certificates are read from files, or taken as they stand', () => {
    const pem = (name: string) => `-----BEGIN ${name}-----\nAA==\n-----END ${name}-----\n`;
    writeFileSync(join(folder, 'ca.pem'), pem('CERTIFICATE'));
    const tls = { ca: ['ca.pem', pem('X')], cert: pem('CERTIFICATE'), key: pem('PRIVATE KEY'), insecure: true };
    const [upstream] = build({ upstreams: [{ ...own, tls }] }).upstreams;
    expect(upstream?.tls).toEqual({ ...tls, ca: [pem('CERTIFICATE'), pem('X')] });
  });

  test('those of an endpoint are found as well', () => {
    const pem = '-----BEGIN CERTIFICATE-----\n';
    writeFileSync(join(folder, 'endpoint.pem'), pem);
    const auth = { usernameFile: 'user', passwordFile: 'password' };
    const endpoint = { url: 'https://mirror.example', auth, tls: { ca: 'endpoint.pem' } };
    const [upstream] = build({ upstreams: [{ ...own, endpoints: ['https://a.example', endpoint] }] }).upstreams;
    expect(upstream?.endpoints).toEqual([
      'https://a.example',
      {
        url: 'https://mirror.example',
        auth: { usernameFile: join(folder, 'user'), passwordFile: join(folder, 'password') },
        tls: { ca: [pem] },
      },
    ]);
    const wrong = { ...endpoint, tls: { ca: 'none.pem' } };
    expect(() => build({ upstreams: [{ ...own, endpoints: [wrong] }] })).toThrow(
      /^upstreams\[0\]\.endpoints\[0\]\.tls\.ca: cannot be read: ENOENT/,
    );
  });

  test('a certificate that cannot be read names path and file', () => {
    const input = { upstreams: [own, { ...own, key: 'b', tls: { ca: 'none.pem' } }] };
    expect(() => build(input)).toThrow(/^upstreams\[1\]\.tls\.ca: cannot be read: ENOENT.*none\.pem/);
  });

  test('a file without a certificate is refused, and not shown', () => {
    writeFileSync(join(folder, 'text.pem'), '271828');
    const tls = { cert: 'text.pem', key: 'text.pem' };
    const refused = () => build({ upstreams: [{ ...own, tls }] });
    expect(refused).toThrow(`upstreams[0].tls.cert: expected PEM text, received ${join(folder, 'text.pem')}`);
    expect(refused).not.toThrow('271828');
  });
});

test('limits and what concerns core alone are handed on', () => {
  const handed = {
    publicUrl: 'https://mirror.example',
    reservedKeys: ['old'],
    catalog: true,
    publicContent: true,
    callerKey: '0123456789abcdef0123456789abcdef',
    offload: 'hash',
  };
  const limits = { maxRequests: 5, maxIngests: 6, threads: 2, memory: { manifests: 7, blobs: 0, buffers: 8 } };
  const { upstreams, ...options } = build({
    ...handed,
    upstreams: [own],
    limits: { ...limits, maxConnections: 9, shutdownWithin: '1s' },
    storage: { minFree: '1GiB', maxWaitingBytes: '2GiB', durable: true, verifyOnRead: 'first' },
  });
  expect(options).toEqual({ ...handed, ...limits, minFree: 2 ** 30, maxWaitingBytes: 2 ** 31, verifyOnRead: 'first' });
});

describe('rules', () => {
  const access = (...rules: object[]) => ({
    access: { anonymous: true, groups: [{ name: 'web', members: ['ann'] }], rules },
  });

  test('may name groups and upstreams that there are', () => {
    const rules = [
      { groups: ['web'], upstream: 'docker-hub', allow: true },
      { upstream: 'quay.io', allow: false },
    ];
    expect(() => build(access(...rules))).not.toThrow();
  });

  test.each([
    [{ groups: ['web', 'webs'], allow: true }, 'access.rules[1].groups: there is no group "webs"; did you mean "web"?'],
    [
      { upstream: 'docker-hb', allow: false },
      'access.rules[1].upstream: there is no upstream "docker-hb"; did you mean "docker-hub"?',
    ],
  ])('such as %j are refused, as they would be about nothing', (rule, message) => {
    expect(() => build(access({ allow: true }, rule))).toThrow(message);
  });
});

describe('a server that a network reaches', () => {
  const withCredentials = [{ ...own, auth: { username: 'u', password: 'p' } }];

  test.each(['0.0.0.0', '::', '192.0.2.1', 'registry.internal'])('is refused credentials at %s', (host) => {
    expect(() => build({ upstreams: withCredentials }, '--host', host)).toThrow(
      `listen.host: expected a loopback address, received "${host}": whoever reaches it could read with the credentials ` +
        'of "own"; say in access who may, or set allowAnonymous: true if that is meant',
    );
  });

  test('a client certificate is a credential too', () => {
    const pem = '-----BEGIN X-----';
    const upstreams = [{ ...own, tls: { cert: pem, key: pem } }];
    expect(() => build({ upstreams, listen: { host: '0.0.0.0' } })).toThrow('the credentials of "own"');
  });

  test("an endpoint's credentials count as well", () => {
    const endpoints = ['https://a.example', { url: 'https://b.example', auth: { token: 't' } }];
    expect(() => build({ upstreams: [{ ...own, endpoints }], listen: { host: '0.0.0.0' } })).toThrow(
      'the credentials of "own"',
    );
    const anonymous = [{ ...own, endpoints: ['https://a.example'] }];
    expect(keysOf(build({ upstreams: anonymous, listen: { host: '0.0.0.0' } }))).toEqual(['own']);
  });

  test.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost'])('is not one at %s', (host) => {
    expect(keysOf(build({ upstreams: withCredentials, listen: { host } }))).toEqual(['own']);
  });

  test('may have them with allowAnonymous', () => {
    const input = { upstreams: withCredentials, listen: { host: '0.0.0.0' }, allowAnonymous: true };
    expect(keysOf(build(input))).toEqual(['own']);
  });

  test('may have them where it asks everybody who he is', () => {
    const input = { upstreams: withCredentials, listen: { host: '0.0.0.0' } };
    const basic = { htpasswd: 'users' };
    expect(keysOf(build({ ...input, access: { basic } }))).toEqual(['own']);
    expect(() => build({ ...input, access: { basic, anonymous: true } })).toThrow('the credentials of "own"');
    const rules = [{ repositories: ['open/*'], allow: true }];
    expect(keysOf(build({ ...input, access: { basic, anonymous: true, rules } }))).toEqual(['own']);
  });

  test('needs nothing while there are no credentials', () => {
    expect(keysOf(build({ upstreams: [{ ...own, auth: 'anonymous' }], listen: { host: '0.0.0.0' } }))).toEqual(['own']);
  });

  test.each([
    ['the operations API alone', { admin: { port: 0 } }],
    ['the operations API and what is kept of it', { admin: { port: 0 }, persistUpstreams: {} }],
    ['what other processes write', { persistUpstreams: {} }],
  ])('is refused upstreams that %s may add with credentials', (_, added) => {
    const input = { upstreams: [own], listen: { host: '0.0.0.0' }, ...added };
    expect(() => build(input)).toThrow(
      'whoever reaches it could read with the credentials of upstreams that are added at run time; say in access who may',
    );
    expect(keysOf(build({ ...input, allowAnonymous: true }))).toEqual(['own']);
    expect(keysOf(build({ ...input, access: { basic: { htpasswd: 'users' } } }))).toEqual(['own']);
    expect(keysOf(build({ ...input, listen: { host: '127.0.0.1' } }))).toEqual(['own']);
  });

  test('may be moved to upstreams by --upstream, where no credentials go', () => {
    const moved = ['--host', '0.0.0.0', '--upstream', 'own=http://127.0.0.1:1'];
    expect(keysOf(build({ upstreams: withCredentials }, ...moved))).toEqual(['own']);
  });
});
