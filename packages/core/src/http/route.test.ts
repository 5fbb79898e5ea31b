import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRepository } from '../oci/name.ts';
import type { HttpRequest } from './message.ts';
import { parseRoute, pushRefused, type Route } from './route.ts';

const sha256 = `sha256:${'a1'.repeat(32)}` as const;
const sha512 = `sha512:${'b2'.repeat(64)}` as const;

function request(url: string, method = 'GET', host?: string): HttpRequest {
  return {
    method,
    url,
    basePath: '',
    headers: { get: (name) => (name === 'host' ? (host ?? null) : null) },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
  };
}

const parse = (url: string, method?: string) => parseRoute(request(url, method));
const route = (expected: object): Route => ({ ns: undefined, host: undefined, ...expected }) as Route;

function codeOf(url: string, method?: string): unknown {
  try {
    return parse(url, method);
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('parseRoute', () => {
  it.each<[string, object]>([
    ['/v2', { kind: 'ping' }],
    ['/v2/', { kind: 'ping' }],
    ['/v2?a=b', { kind: 'ping' }],
    ['/v2/_catalog', { kind: 'catalog', page: {} }],
    ['/v2/_catalog?n=5&last=a/b', { kind: 'catalog', page: { n: 5, last: 'a/b' } }],
    ['/v2/alpine/manifests/3.19', { kind: 'manifest', name: 'alpine', reference: { kind: 'tag', tag: '3.19' } }],
    ['/v2/a/b/c/manifests/_x', { kind: 'manifest', name: 'a/b/c', reference: { kind: 'tag', tag: '_x' } }],
    [`/v2/a/manifests/${sha256}`, { kind: 'manifest', name: 'a', reference: { kind: 'digest', digest: sha256 } }],
    [`/v2/a/manifests/${sha512}`, { kind: 'manifest', name: 'a', reference: { kind: 'digest', digest: sha512 } }],
    [`/v2/a/b/blobs/${sha256}`, { kind: 'blob', name: 'a/b', digest: sha256 }],
    ['/v2/a/tags/list', { kind: 'tags', name: 'a', page: {} }],
    ['/v2/a/tags/list?n=0', { kind: 'tags', name: 'a', page: { n: 0 } }],
    ['/v2/a/tags/list?last=1.0&n=100', { kind: 'tags', name: 'a', page: { n: 100, last: '1.0' } }],
    ['/v2/a/tags/list?n=&last=&cursor=', { kind: 'tags', name: 'a', page: {} }],
    ['/v2/a/tags/list?cursor=%26x%3D1', { kind: 'tags', name: 'a', page: { cursor: '&x=1' } }],
    [`/v2/a/referrers/${sha256}`, { kind: 'referrers', name: 'a', digest: sha256, artifactType: undefined }],
    [
      `/v2/a/referrers/${sha256}?artifactType=application%2Fspdx%2Bjson`,
      { kind: 'referrers', name: 'a', digest: sha256, artifactType: 'application/spdx+json' },
    ],
    [
      `/v2/a/referrers/${sha256}?artifactType=application/spdx+json`,
      { kind: 'referrers', name: 'a', digest: sha256, artifactType: 'application/spdx+json' },
    ],
    [
      `/v2/a/referrers/${sha256}?artifactType=a/b&artifactType=c/d`,
      { kind: 'referrers', name: 'a', digest: sha256, artifactType: undefined },
    ],
    ['/v2/a/blobs/uploads/', { kind: 'upload' }],
    ['/v2/a/blobs/uploads', { kind: 'upload' }],
    ['/v2/a/blobs/uploads/some-session', { kind: 'upload' }],
    [
      '/v2/manifests/tags/blobs/manifests/list',
      { kind: 'manifest', name: 'manifests/tags/blobs', reference: { kind: 'tag', tag: 'list' } },
    ],
  ])('parses %s', (url, expected) => {
    expect(parse(url)).toEqual(route(expected));
    expect(parse(url, 'HEAD')).toEqual(route(expected));
  });

  it.each(['', '/', '/v1/_ping', '/v2x', '/v20/', '/v2.json', '/V2/', '/%762/', '/api/v2/'])(
    'leaves %s to the host',
    (url) => {
      expect(parse(url)).toBeUndefined();
      expect(parse(url, 'POST')).toBeUndefined();
    },
  );

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])('takes %s for a push on any path, of the API or not', (method) => {
    for (const url of ['/v2/', '/v2/a/blobs/uploads/?mount=x&from=y', '/v2/a/manifests/1', '/v2/BAD/nothing/%zz']) {
      expect(parse(url, method)).toEqual(route({ kind: 'upload' }));
    }
  });

  it.each([
    ['/v2/a/manifests/sha256:totallywrong', 'digest-invalid'],
    ['/v2/a/manifests/.hidden', 'tag-invalid'],
    ['/v2/BAD/manifests/1', 'name-invalid'],
    ['/v2/a/manifests/%zz', 'name-invalid'],
  ])('refuses a push to %s for its name', (url, code) => {
    for (const method of ['PUT', 'DELETE']) expect(codeOf(url, method)).toBe(code);
  });

  it('refuses pushes in words of its own', () => {
    expect(pushRefused()).toMatchObject({
      code: 'read-only',
      message: expect.stringContaining('proxy cache; push to'),
    });
  });

  it.each(['OPTIONS', 'TRACE', 'get', 'PROPFIND'])('does not support %s', (method) => {
    expect(codeOf('/v2/a/manifests/1', method)).toBe('unsupported');
  });

  it.each([
    '/v2/foo',
    '/v2/foo/',
    '/v2/foo/bar',
    '/v2/_catalog/',
    '/v2/a/tags/',
    '/v2/a/tags/lists',
    '/v2/a/manifests/x/',
    '/v2/_oci/ext/discover',
    '/v2/a/b/uploads/x',
    '/v2//',
  ])('has no endpoint at %s', (url) => {
    expect(codeOf(url)).toBe('unsupported');
  });

  it.each<[string, string]>([
    ['/v2//manifests/1', 'name-invalid'],
    ['/v2/manifests/1', 'name-invalid'],
    ['/v2/A/manifests/1', 'name-invalid'],
    ['/v2/a//b/manifests/1', 'name-invalid'],
    ['/v2/../manifests/1', 'name-invalid'],
    ['/v2/a/../b/manifests/1', 'name-invalid'],
    ['/v2/a..b/manifests/1', 'name-invalid'],
    [`/v2/${'a'.repeat(256)}/manifests/1`, 'name-invalid'],
    ['/v2/a/manifests/', 'tag-invalid'],
    ['/v2/a/manifests/.INVALID_MANIFEST_NAME', 'tag-invalid'],
    [`/v2/a/manifests/${'a'.repeat(129)}`, 'tag-invalid'],
    ['/v2/a/manifests/sha256:totallywrong', 'digest-invalid'],
    ['/v2/a/manifests/md5:d41d8cd98f00b204e9800998ecf8427e', 'digest-invalid'],
    ['/v2/a/blobs/', 'digest-invalid'],
    ['/v2/a/blobs/latest', 'digest-invalid'],
    [`/v2/a/blobs/${sha256.toUpperCase()}`, 'digest-invalid'],
    [`/v2/a/blobs/${sha256}0`, 'digest-invalid'],
    ['/v2/a/referrers/latest', 'digest-invalid'],
    ['/v2/a/tags/list?n=-1', 'page-invalid'],
    ['/v2/a/tags/list?n=ten', 'page-invalid'],
    ['/v2/a/tags/list?n=1.5', 'page-invalid'],
    ['/v2/a/tags/list?n=1e3', 'page-invalid'],
    ['/v2/a/tags/list?n=1000000000', 'page-invalid'],
    ['/v2/a/tags/list?n=1&n=2', 'page-invalid'],
    ['/v2/a/tags/list?n=%zz', 'page-invalid'],
    ['/v2/a/tags/list?last=no/tag', 'page-invalid'],
    [`/v2/a/tags/list?cursor=${'x'.repeat(8193)}`, 'page-invalid'],
    ['/v2/_catalog?last=NO', 'page-invalid'],
  ])('refuses %s as %s', (url, code) => {
    expect(codeOf(url)).toBe(code);
  });

  it('decodes percent-encoding exactly once, and no encoded slash separates', () => {
    expect(parse('/v2/%61lpine/manifests/%6Catest')).toEqual(parse('/v2/alpine/manifests/latest'));
    expect(parse(`/v2/a/blobs/sha256%3A${sha256.slice(7)}`)).toEqual(parse(`/v2/a/blobs/${sha256}`));
    expect(codeOf('/v2/library%2Falpine/manifests/latest')).toBe('name-invalid');
    expect(codeOf('/v2/a%2Fmanifests%2Fb/manifests/latest')).toBe('name-invalid');
    expect(codeOf('/v2/%2561lpine/manifests/latest')).toBe('name-invalid');
    expect(codeOf('/v2/a%zz/manifests/latest')).toBe('name-invalid');
    expect(codeOf('/v2/a/manifests/%e9')).toBe('name-invalid');
    expect(codeOf('/v2/%2e%2e/manifests/latest')).toBe('name-invalid');
    expect(codeOf('/v2/a/manifests/a%00')).toBe('tag-invalid');
    expect(codeOf('/v2/a/%6danifests/latest')).toBe('unsupported');
  });

  it('reads the source host that a mirror is asked for', () => {
    expect(parse('/v2/?ns=docker.io')).toMatchObject({ ns: 'docker.io' });
    expect(parse('/v2/a/tags/list?n=1&ns=localhost%3A5999')).toMatchObject({ ns: 'localhost:5999', page: { n: 1 } });
    expect(parse('/v2/?%6es=docker.io')).toMatchObject({ ns: 'docker.io' });
    expect(parse('/v2/?nsx=1&xns=2')).toMatchObject({ ns: undefined });
  });

  it.each(['ns=a&ns=b', 'ns=a&ns=a', 'ns', 'ns=', 'ns=%zz', 'ns=a&%6Es=b', 'ns=%E2%84%AA', 'ns=a%0d%0ab', 'ns=%20a'])(
    'marks ?%s as a source host nobody has',
    (query) => {
      expect(parse(`/v2/?${query}`)).toMatchObject({ ns: '' });
    },
  );

  it('carries the Host header', () => {
    expect(parseRoute(request('/v2/', 'GET', 'ghcr.io'))).toMatchObject({ host: 'ghcr.io' });
  });

  it('reads back every legal name and reference that is written, however it is encoded', () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}$/);
    const name = fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
    const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/);
    const encode = (text: string, which: boolean[]) =>
      [...text].map((c, i) => (c !== '/' && which[i % which.length] ? `%${c.charCodeAt(0).toString(16)}` : c)).join('');
    fc.assert(
      fc.property(name, tag, fc.array(fc.boolean(), { minLength: 1, maxLength: 7 }), (n, t, which) => {
        expect(parse(`/v2/${encode(n, which)}/manifests/${encode(t, which)}`)).toEqual(
          route({ kind: 'manifest', name: n, reference: { kind: 'tag', tag: t } }),
        );
      }),
    );
  });

  it('gives a legal route or a clear refusal for any path', () => {
    const word = fc.constantFrom(
      'manifests',
      'blobs',
      'tags',
      'list',
      'referrers',
      'uploads',
      '..',
      '%2F',
      '%',
      'a',
      'A',
    );
    const path = fc
      .array(fc.oneof(word, fc.string({ maxLength: 6 })), { maxLength: 7 })
      .map((parts) => parts.join('/'));
    fc.assert(
      fc.property(path, (p) => {
        const outcome = codeOf(`/v2/${p}`);
        if (typeof outcome === 'string') {
          expect(outcome).toMatch(/^(name|tag|digest|page)-invalid$|^unsupported$/);
        } else if ('name' in (outcome as object)) {
          expect(isRepository((outcome as { name: string }).name)).toBe(true);
        }
      }),
    );
  });

  it('reads 10^5 characters of anything to their end, with an error of ours', () => {
    for (const piece of ['a', '/', 'a/', '%2f', '%', '.', '-', '__', '&', 'n=1&', '%00', '\\', '\u00e9']) {
      for (const length of [10_000, 100_000]) {
        const text = piece.repeat(length / piece.length);
        for (const url of [
          `/v2/${text}`,
          `/v2/${text}/manifests/1`,
          `/v2/a/manifests/${text}`,
          `/v2/a/blobs/${text}`,
        ]) {
          expect(codeOf(url)).toMatch(/^(name|tag|digest)-invalid$|^unsupported$/);
        }
        const list = codeOf(`/v2/a/tags/list?${text}`);
        if (typeof list === 'string') expect(list).toBe('page-invalid');
      }
    }
  });
});
