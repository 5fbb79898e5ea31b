import { describe, expect, it } from 'vitest';
import type { Descriptor } from '../oci/descriptor.ts';
import type { BlobPull } from '../pull/pull-blob.ts';
import type { DigestPull } from '../pull/pull-digest.ts';
import type { TagPull } from '../pull/pull-tag.ts';
import type { Target } from '../pull/target.ts';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import { createDispatch, type DispatchParts } from './dispatch.ts';
import type { RequestEvent } from './events.ts';
import type { HttpRequest } from './message.ts';

const digest = `sha256:${'a1'.repeat(32)}` as const;
const descriptor: Descriptor = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 2 };
const target = {
  upstream: {},
  place: { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g' },
} as Target;
const unexpected = () => Promise.reject(new Error('not expected here'));

let monotonic = 0;
const clock: Clock = { now: () => 1_000_000, monotonic: () => monotonic, after: () => () => undefined };

function request(url: string, rest: Partial<HttpRequest> & { sent?: Record<string, string> } = {}): HttpRequest {
  const { sent = {}, ...fields } = rest;
  return {
    method: 'GET',
    url,
    basePath: '',
    headers: { get: (name) => sent[name] ?? null },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
    ...fields,
  };
}

function make(parts: Partial<DispatchParts> = {}) {
  const events: RequestEvent[] = [];
  const dispatch = createDispatch({
    locate: ({ name }) => (name.startsWith('up/') ? { target, clientName: name } : undefined),
    whenRelocated: () => undefined,
    heldManifests: () => () => undefined,
    heldBlobs: () => () => undefined,
    pullTag: { pull: unexpected, recentTagOf: () => undefined },
    pullDigest: unexpected,
    pullBlob: unexpected,
    prefetch: { served: () => undefined },
    listTags: unexpected,
    listReferrers: unexpected,
    listRepositories: undefined,
    groups: { locate: () => undefined, member: unexpected, held: () => undefined },
    callers: { areAsked: () => false, see: (seen) => seen, ping: async () => undefined, challenges: () => undefined },
    publicContent: false,
    publicUrl: undefined,
    gate: undefined,
    clock,
    observe: (event) => void (event.type === 'request' && events.push(event)),
    ...parts,
  });
  return { dispatch, events };
}

const manifest = { descriptor, bytes: Buffer.from('{}'), byTag: true, cacheStatus: { hit: true } } as const;

describe('a request', () => {
  it('that is not ours is nobody’s event', async () => {
    const { dispatch, events } = make();
    expect(await dispatch(request('/metrics'))).toBeUndefined();
    expect(events).toEqual([]);
  });

  it('is told to the observer once, with what it was about, how it came about and how long it took', async () => {
    const { dispatch, events } = make({
      pullTag: {
        async pull() {
          monotonic += 25;
          return manifest;
        },
        recentTagOf: () => undefined,
      },
    });
    await dispatch(request('/v2/up/team/app/manifests/1'));
    expect(events).toEqual([
      {
        type: 'request',
        method: 'GET',
        kind: 'manifest',
        upstream: 'up',
        repository: 'team/app',
        reference: '1',
        status: 200,
        durationMs: 25,
        bytes: 2,
        cacheStatus: { hit: true },
      },
    ]);
  });

  it.each([
    ['GET', 'bytes'],
    ['HEAD', 'descriptor'],
  ] as const)('by %s wants %s', async (method, want) => {
    const asked: unknown[] = [];
    const note = (pull: TagPull | DigestPull | BlobPull) => {
      asked.push(pull.want);
      return Promise.reject(new ProxyCacheError('manifest-unknown', 'no'));
    };
    const { dispatch } = make({
      pullTag: { pull: note, recentTagOf: () => undefined },
      pullDigest: note,
      pullBlob: note,
    });
    for (const path of ['manifests/1', `manifests/${digest}`, `blobs/${digest}`]) {
      await dispatch(request(`/v2/up/team/app/${path}`, { method }));
    }
    expect(asked).toEqual([want, want, want]);
  });

  it('asks for the parts of a blob that its Range names, unless its If-Range does not hold', async () => {
    const asked: unknown[] = [];
    const { dispatch } = make({
      pullBlob: async ({ ranges }) => {
        asked.push(ranges);
        throw new ProxyCacheError('blob-unknown', 'no');
      },
    });
    const range = { range: 'bytes=1-2,5-' };
    for (const sent of [{}, range, { ...range, 'if-range': `"${digest}"` }, { ...range, 'if-range': '"other"' }]) {
      await dispatch(request(`/v2/up/team/app/blobs/${digest}`, { sent }));
    }
    const both = [{ from: 1, to: 2 }, { from: 5 }];
    expect(asked).toEqual([undefined, both, both, undefined]);
  });

  it('for a page goes on to the list as it was parsed', async () => {
    const asked: unknown[] = [];
    const { dispatch } = make({
      async listTags({ page }) {
        asked.push(page);
        return { tags: [], cacheStatus: { hit: false } };
      },
      async listRepositories(page) {
        asked.push(page);
        return { repositories: [] };
      },
    });
    await dispatch(request('/v2/up/team/app/tags/list?n=2&last=a'));
    await dispatch(request('/v2/_catalog?cursor=x'));
    expect(asked).toEqual([{ n: 2, last: 'a' }, { cursor: 'x' }]);
  });
});

describe('a request that fails', () => {
  it.each([
    ['/v2/up/App/manifests/1', 400, 'invalid', 'name-invalid'],
    ['/v2/nobody/app/manifests/1', 404, 'manifest', 'name-unknown'],
    [`/v2/nobody/app/blobs/${digest}`, 404, 'blob', 'name-unknown'],
    ['/v2/nobody/app/tags/list', 404, 'tags', 'name-unknown'],
    [`/v2/nobody/app/referrers/${digest}`, 404, 'referrers', 'name-unknown'],
    ['/v2/_catalog', 404, 'catalog', 'unsupported'],
    ['/v2/up/app/blobs/uploads/', 403, 'upload', 'read-only'],
    ['/v2/up/app/what', 404, 'invalid', 'unsupported'],
  ])('%s: %i, told as %s with its code %s', async (url, status, kind, error) => {
    const { dispatch, events } = make();
    expect((await dispatch(request(url)))?.status).toBe(status);
    expect(events).toMatchObject([{ kind, status, error }]);
  });

  it('by an upstream is told by its code, and when to ask again', async () => {
    const failure = new UpstreamError('rate-limited', 'up answered 429', {
      upstream: 'up',
      status: 429,
      retryAt: 1_007_000,
    });
    const { dispatch, events } = make({ pullDigest: () => Promise.reject(failure) });
    const got = await dispatch(request(`/v2/up/team/app/manifests/${digest}`));
    expect(got).toMatchObject({ status: 429, headers: { 'retry-after': '7' } });
    expect(events).toMatchObject([
      { upstream: 'up', repository: 'team/app', reference: digest, error: 'rate-limited' },
    ]);
  });

  it.each([new Error('s3cr3t'), new TypeError('s3cr3t'), 's3cr3t', undefined, null])(
    'by a defect (%s) is 500 without a word of it, which the observer gets',
    async (defect) => {
      const { dispatch, events } = make({ pullDigest: () => Promise.reject(defect) });
      const got = await dispatch(request(`/v2/up/team/app/manifests/${digest}`));
      expect(got?.status).toBe(500);
      const body = Buffer.from(got?.body as Uint8Array).toString();
      expect(JSON.stringify([got?.headers, body])).not.toContain('s3cr3t');
      expect(events).toMatchObject([{ error: 'internal', defect: expect.stringContaining(String(defect)) }]);
    },
  );

  it('echoes the source host that was heeded, and no other', async () => {
    const failing = { pullDigest: () => Promise.reject(new ProxyCacheError('manifest-unknown', 'no')) };
    const { dispatch } = make(failing);
    const headerOf = async (name: string) =>
      (await dispatch(request(`/v2/${name}/manifests/${digest}?ns=docker.io`)))?.headers['oci-namespace'];
    expect([await headerOf('up/team/app'), await headerOf('nobody/app')]).toEqual(['docker.io', undefined]);
  });

  it('because its client left is told as such, whatever came of it', async () => {
    const client = new AbortController();
    const { dispatch, events } = make({
      pullDigest: async () => {
        client.abort();
        throw new Error('some consequence');
      },
    });
    await dispatch(request(`/v2/up/team/app/manifests/${digest}`, { signal: client.signal }));
    expect(events).toMatchObject([{ error: 'aborted', status: 503 }]);
  });
});
