import { describe, expect, it } from 'vitest';
import { readWebRequest } from './fetch.ts';
import type { HttpRequest, HttpResponse } from './message.ts';
import { respondCatalog, respondPing, respondReferrers, respondTags } from './respond-list.ts';
import { parseRoute } from './route.ts';

function request(method = 'GET', basePath = ''): HttpRequest {
  return { ...readWebRequest(new Request('http://cache.example/v2/', { method })), basePath };
}

function jsonOf(response: HttpResponse): unknown {
  const body = Buffer.from(response.body as Uint8Array);
  expect(response.headers['content-length']).toBe(String(body.byteLength));
  return JSON.parse(body.toString());
}

const tags = { tags: ['1.0', '2.0'], cacheStatus: { hit: false, fwd: 'miss' as const } };
const list = { clientName: 'hub/library/alpine', page: {}, ns: undefined, publicUrl: undefined };

describe('respondTags', () => {
  it('lists tags under the name the client knows', () => {
    const response = respondTags(tags, request(), list);
    expect(response).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'application/json',
        'cache-control': 'no-cache, no-transform',
        'cache-status': 'proxycache; fwd=miss',
        'docker-distribution-api-version': 'registry/2.0',
        'x-content-type-options': 'nosniff',
      },
    });
    expect(response.headers).not.toHaveProperty('link');
    expect(jsonOf(response)).toEqual({ name: 'hub/library/alpine', tags: ['1.0', '2.0'] });
  });

  it('links the next page so that following it gives the cursor back', () => {
    const answer = { ...tags, next: 'last=2.0&x=a b/é' };
    const { headers } = respondTags(answer, request(), { ...list, page: { n: 2 }, ns: 'docker.io:5000' });
    const link = /^<(\/v2\/[^>]+)>; rel="next"$/.exec(`${headers['link']}`)?.[1];
    expect(parseRoute({ ...request(), url: link! })).toMatchObject({
      kind: 'tags',
      name: 'hub/library/alpine',
      ns: 'docker.io:5000',
      page: { n: 2, cursor: 'last=2.0&x=a b/é' },
    });
    expect(headers['oci-namespace']).toBe('docker.io:5000');
  });

  it('links under the mount point, relative or at the public URL', () => {
    const answer = { ...tags, next: 'c' };
    const link = (publicUrl?: string) =>
      respondTags(answer, request('GET', '/pfx'), { ...list, publicUrl }).headers['link'];
    expect(link()).toBe('</pfx/v2/hub/library/alpine/tags/list?cursor=c>; rel="next"');
    for (const url of ['https://mirror.example', 'https://mirror.example/']) {
      expect(link(url)).toBe('<https://mirror.example/pfx/v2/hub/library/alpine/tags/list?cursor=c>; rel="next"');
    }
  });

  it('gives an empty list without a link for n=0', () => {
    const response = respondTags({ ...tags, next: 'c' }, request(), { ...list, page: { n: 0 } });
    expect(jsonOf(response)).toEqual({ name: 'hub/library/alpine', tags: [] });
    expect(response.headers).not.toHaveProperty('link');
  });

  it('says when the list is not all there is', () => {
    const response = respondTags({ ...tags, warning: 'partial list: upstream unavailable' }, request(), list);
    expect(response.headers['warning']).toBe('299 - "partial list: upstream unavailable"');
  });

  it('gives the same headers on HEAD, without the body', () => {
    const { headers } = respondTags(tags, request(), list);
    expect(respondTags(tags, request('HEAD'), list)).toEqual({ status: 200, headers, body: null });
  });
});

describe('respondReferrers', () => {
  const manifests = [
    { digest: 'sha256:1', artifactType: 'application/spdx+json', annotations: { a: 'b' } },
    { digest: 'sha256:2', artifactType: 'application/vnd.dev.cosign+json' },
    { digest: 'sha256:3' },
  ];
  const answer = { manifests, cacheStatus: { hit: true } };

  it('gives an image index of all that refers to the subject', () => {
    const response = respondReferrers(answer, request(), { ns: undefined, artifactType: undefined });
    expect(response.headers['content-type']).toBe('application/vnd.oci.image.index.v1+json');
    expect(response.headers).not.toHaveProperty('oci-filters-applied');
    expect(jsonOf(response)).toEqual({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests,
    });
  });

  it('filters by artifact type and says so, also when nothing is left', () => {
    const filtered = (artifactType: string) => respondReferrers(answer, request(), { ns: undefined, artifactType });
    expect(jsonOf(filtered('application/spdx+json'))).toMatchObject({ manifests: [manifests[0]] });
    expect(jsonOf(filtered('application/none'))).toMatchObject({ manifests: [] });
    expect(filtered('application/none').headers['oci-filters-applied']).toBe('artifactType');
  });
});

describe('respondCatalog', () => {
  it('lists repositories and links the next page', () => {
    const options = { page: { n: 1 }, ns: undefined, publicUrl: undefined };
    const response = respondCatalog({ repositories: ['hub/a'], next: 'hub/a' }, request(), options);
    expect(jsonOf(response)).toEqual({ repositories: ['hub/a'] });
    expect(response.headers['link']).toBe('</v2/_catalog?n=1&cursor=hub%2Fa>; rel="next"');
    const none = respondCatalog({ repositories: ['hub/a'], next: 'x' }, request(), { ...options, page: { n: 0 } });
    expect(jsonOf(none)).toEqual({ repositories: [] });
  });
});

describe('respondPing', () => {
  it.each(['GET', 'HEAD'])('answers %s as a registry does', (method) => {
    expect(respondPing(request(method))).toEqual({
      status: 200,
      headers: {
        'docker-distribution-api-version': 'registry/2.0',
        'x-content-type-options': 'nosniff',
        'content-type': 'application/json',
        'content-length': '2',
        'cache-control': 'no-cache, no-transform',
        'cache-status': 'proxycache',
      },
      body: method === 'HEAD' ? null : Buffer.from('{}'),
    });
  });
});
