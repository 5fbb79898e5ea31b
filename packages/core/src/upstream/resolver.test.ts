import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createResolver, normalizeHost, type ResolvableUpstream } from './resolver.ts';

const hub = { key: 'hub', hosts: ['docker.io', 'index.docker.io', 'registry-1.docker.io'], library: true };
const ghcr = { key: 'ghcr', hosts: ['GHCR.io:443'], library: false };
const own = { key: 'own', hosts: ['registry.example:5000'], library: false };
const plain = { key: 'plain', hosts: [], library: true };
const upstreams: ResolvableUpstream[] = [hub, ghcr, own, plain];

const withDefault = createResolver({ upstreams, defaultUpstream: 'hub', reservedKeys: ['gone'] });
const withoutDefault = createResolver({ upstreams, reservedKeys: ['gone'] });

function target(resolver: typeof withDefault, name: string, from: { ns?: string; host?: string } = {}): string {
  const found = resolver.resolve({ name, ns: from.ns, host: from.host });
  if (!found) return 'unknown';
  expect(found.clientName).toBe(name);
  return found.candidates.map((candidate) => `${candidate.key}:${candidate.repository}`).join(' ');
}

describe('a group', () => {
  const all = { key: 'all', hosts: ['docker.io', 'all.example'], library: false };
  const grouped = createResolver({ upstreams, groups: [all], defaultUpstream: 'all', reservedKeys: ['gone'] });

  it.each<[name: string, from: { ns?: string; host?: string }, expected: string]>([
    ['all/app', {}, 'all:app'],
    ['app', {}, 'all:app'],
    ['app', { ns: 'docker.io' }, 'all:app hub:library/app'],
    ['all/app', { ns: 'docker.io' }, 'all:app'],
    ['app', { host: 'all.example' }, 'all:app'],
    ['hub/app', {}, 'hub:library/app'],
    ['app', { ns: 'index.docker.io' }, 'hub:library/app'],
    ['gone/app', {}, 'unknown'],
  ])('%s with %j is %s', (name, from, expected) => {
    expect(target(grouped, name, from)).toBe(expected);
  });
});

describe('by source host', () => {
  it.each([
    ['library/alpine', 'docker.io', 'hub:library/alpine'],
    ['alpine', 'docker.io', 'hub:library/alpine'],
    ['alpine', 'Registry-1.Docker.IO:443', 'hub:library/alpine'],
    ['team/app', 'ghcr.io', 'ghcr:team/app'],
    ['app', 'ghcr.io', 'ghcr:app'],
    ['app', 'registry.example:5000', 'own:app'],
    ['app', 'registry.example', 'unknown'],
    ['app', 'registry.example:5001', 'unknown'],
  ])('%s with ns=%s is %s', (name, ns, expected) => {
    expect(target(withDefault, name, { ns })).toBe(expected);
    expect(target(withoutDefault, name, { ns })).toBe(expected);
  });

  it.each(['', 'quay.io', 'evil.example', '169.254.169.254', 'hub', 'docker.io/', 'docker.io,ghcr.io'])(
    'ns=%s is unknown, and never the default or the key',
    (ns) => {
      expect(target(withDefault, 'alpine', { ns })).toBe('unknown');
      expect(target(withDefault, 'hub/library/alpine', { ns })).toBe('unknown');
    },
  );

  it('strips a leading key when that upstream declares the host, as BuildKit sends it', () => {
    expect(target(withDefault, 'hub/library/alpine', { ns: 'docker.io' })).toBe('hub:library/alpine');
    expect(target(withDefault, 'hub/alpine', { ns: 'docker.io' })).toBe('hub:library/alpine');
  });

  it("keeps a leading component that is another upstream's key, or a reserved one", () => {
    expect(target(withDefault, 'ghcr/alpine', { ns: 'docker.io' })).toBe('hub:ghcr/alpine');
    expect(target(withDefault, 'gone/alpine', { ns: 'docker.io' })).toBe('hub:gone/alpine');
  });

  it('keeps a name that is a key alone', () => {
    expect(target(withDefault, 'hub', { ns: 'docker.io' })).toBe('hub:library/hub');
  });

  it('goes before the Host header, and is unknown when a declared Host contradicts it', () => {
    expect(target(withDefault, 'app', { ns: 'ghcr.io', host: 'localhost:5000' })).toBe('ghcr:app');
    expect(target(withDefault, 'app', { ns: 'ghcr.io', host: 'ghcr.io' })).toBe('ghcr:app');
    expect(target(withDefault, 'app', { ns: 'ghcr.io', host: 'docker.io' })).toBe('unknown');
  });
});

describe('by Host header', () => {
  it('finds the upstream that declares it, before any key', () => {
    expect(target(withDefault, 'app', { host: 'ghcr.io' })).toBe('ghcr:app');
    expect(target(withDefault, 'hub/app', { host: 'GHCR.IO:80' })).toBe('ghcr:hub/app');
    expect(target(withDefault, 'gone/app', { host: 'ghcr.io' })).toBe('ghcr:gone/app');
  });

  it.each(['localhost:5000', '127.0.0.1', '[::1]:5000', 'hub', 'quay.io', ''])(
    'takes %j for its own address',
    (host) => {
      expect(target(withDefault, 'ghcr/team/app', { host })).toBe('ghcr:team/app');
      expect(target(withDefault, 'alpine', { host })).toBe('hub:library/alpine');
      expect(target(withoutDefault, 'alpine', { host })).toBe('unknown');
    },
  );
});

describe('by key', () => {
  it.each([
    ['hub/library/alpine', 'hub:library/alpine'],
    ['hub/alpine', 'hub:library/alpine'],
    ['ghcr/app', 'ghcr:app'],
    ['plain/app', 'plain:library/app'],
    ['ghcr/hub/app', 'ghcr:hub/app'],
  ])('%s is %s', (name, expected) => {
    expect(target(withDefault, name)).toBe(expected);
    expect(target(withoutDefault, name)).toBe(expected);
  });

  it('answers for a reserved key with nothing, whatever follows', () => {
    for (const name of ['gone', 'gone/alpine', 'gone/library/alpine']) {
      expect(target(withDefault, name)).toBe('unknown');
    }
    expect(target(withDefault, 'gone2/alpine')).toBe('hub:gone2/alpine');
  });
});

describe('by default', () => {
  it('takes paths that name no upstream, a key without a repository among them', () => {
    expect(target(withDefault, 'alpine')).toBe('hub:library/alpine');
    expect(target(withDefault, 'team/app')).toBe('hub:team/app');
    expect(target(withDefault, 'ghcr')).toBe('hub:library/ghcr');
  });

  it('is nothing where none is set', () => {
    expect(target(withoutDefault, 'team/app')).toBe('unknown');
    expect(target(withoutDefault, 'ghcr')).toBe('unknown');
  });
});

describe('several upstreams of one host', () => {
  const again = { key: 'again', hosts: ['docker.io'], library: false };
  const resolver = createResolver({ upstreams: [hub, again], reservedKeys: [] });

  it('are candidates in the order given, each with its own rule for library', () => {
    expect(target(resolver, 'alpine', { ns: 'docker.io' })).toBe('hub:library/alpine again:alpine');
  });

  it('are told apart by the key or by Host', () => {
    expect(target(resolver, 'again/alpine', { ns: 'docker.io' })).toBe('again:alpine');
    expect(target(resolver, 'alpine', { ns: 'docker.io', host: 'index.docker.io' })).toBe('hub:library/alpine');
  });
});

describe('createResolver', () => {
  it.each([
    [{ upstreams: [hub, hub], reservedKeys: [] }, 'upstreams[1].key'],
    [{ upstreams: [hub], reservedKeys: ['hub'] }, 'reservedKeys'],
    [
      { upstreams: [hub, ghcr], reservedKeys: [], defaultUpstream: 'quay' },
      'expected one of "hub", "ghcr", received "quay"',
    ],
  ])('refuses %j', (set, message) => {
    expect(() => createResolver(set)).toThrow(
      expect.objectContaining({ code: 'invalid-options', message: expect.stringContaining(message) }),
    );
  });

  it('never resolves to an upstream that did not declare the source host, whatever is asked', () => {
    const word = fc.constantFrom('hub', 'ghcr', 'own', 'gone', 'alpine', 'library');
    const name = fc.array(word, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    const host = fc.option(fc.constantFrom('docker.io', 'ghcr.io', 'quay.io', 'localhost:5000', ''), {
      nil: undefined,
    });
    fc.assert(
      fc.property(name, host, host, (n, ns, h) => {
        const found = withDefault.resolve({ name: n, ns, host: h });
        for (const candidate of found?.candidates ?? []) {
          const upstream = upstreams.find((u) => u.key === candidate.key)!;
          if (ns !== undefined) expect(upstream.hosts.map(normalizeHost)).toContain(ns);
          const asked = [n, n.slice(n.indexOf('/') + 1)];
          const official = asked.map((repository) => `library/${repository}`);
          expect(upstream.library ? [...asked, ...official] : asked).toContain(candidate.repository);
        }
      }),
    );
  });
});

describe('normalizeHost', () => {
  it.each([
    ['Docker.IO', 'docker.io'],
    ['docker.io:443', 'docker.io'],
    ['docker.io:80', 'docker.io'],
    ['docker.io:8080', 'docker.io:8080'],
    ['[::1]:443', '[::1]'],
    ['[::1]:5000', '[::1]:5000'],
  ])('compares %s as %s', (host, expected) => {
    expect(normalizeHost(host)).toBe(expected);
  });
});
