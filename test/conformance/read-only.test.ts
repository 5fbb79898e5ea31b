import { absentDigest } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { artifactTypes, attached, known, manifests, otherRepository, repository, tagged } from './content.ts';
import { registries, upstreamKey, useFront } from './filled-registry.ts';

const accept = manifests.map(({ mediaType }) => mediaType).join(', ');

/** What of an answer the specification has a word on. */
interface Got {
  status: number;
  headers: Headers;
  text: string;
}

/** The code of an answer's first error (OCI distribution-spec, error codes). */
function codeOf({ text }: Got): string | undefined {
  const { errors } = JSON.parse(text) as { errors?: readonly { code: string }[] };
  return errors?.[0]?.code;
}

// Named after the headings of the OCI distribution-spec: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
describe.each(registries)('before %s', (_, start) => {
  const front = useFront(start);
  const ask = async (path: string, init: RequestInit = {}): Promise<Got> => {
    const answer = await fetch(`${front.url}/v2/${path}`, { headers: { accept }, ...init });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };
  const inName = (path: string, init?: RequestInit) => ask(`${front.name}/${path}`, init);

  describe('#determining-support', () => {
    it('end-1: GET /v2/ is 200', async () => {
      expect((await ask('')).status).toBe(200);
      expect((await ask('', { method: 'HEAD' })).status).toBe(200);
    });
  });

  describe('#pulling-manifests, #checking-if-content-exists-in-the-registry', () => {
    it.each(['GET', 'HEAD'])(
      'end-2, end-3: %s of a manifest says its digest, length and type, by tag and by digest',
      async (method) => {
        for (const { manifest } of Object.values(tagged)) {
          const tag = Object.keys(tagged).find((name) => tagged[name]?.manifest === manifest);
          for (const reference of [tag, manifest.digest]) {
            const { status, headers, text } = await inName(`manifests/${reference}`, { method });
            expect(status).toBe(200);
            expect(headers.get('docker-content-digest')).toBe(manifest.digest);
            expect(headers.get('content-length')).toBe(String(manifest.size));
            // Without parameters, and as it was pushed.
            expect(headers.get('content-type')).toBe(manifest.mediaType);
            expect(text).toBe(method === 'HEAD' ? '' : Buffer.from(manifest.bytes).toString());
          }
        }
      },
    );

    it.each(['GET', 'HEAD'])('end-3: %s of a manifest that is not there is 404', async (method) => {
      for (const reference of ['no-such-tag', absentDigest()]) {
        const got = await inName(`manifests/${reference}`, { method });
        expect(got.status).toBe(404);
        if (method === 'GET') expect(codeOf(got)).toBe('MANIFEST_UNKNOWN');
      }
    });

    it('end-3: a repository that is not there is 404', async () => {
      const got = await ask(`${upstreamKey}/library/no-such-repository/manifests/single`);
      expect([got.status, ['NAME_UNKNOWN', 'MANIFEST_UNKNOWN'].includes(codeOf(got) ?? '')]).toEqual([404, true]);
    });

    it('end-3: a manifest of another repository is not in this one', async () => {
      const { digest } = tagged['index']!.manifest;
      expect((await inName(`manifests/${digest}`)).status).toBe(200);
      expect((await ask(`${upstreamKey}/${otherRepository}/manifests/${digest}`)).status).toBe(404);
    });
  });

  describe('#pulling-blobs', () => {
    it.each(['GET', 'HEAD'])('end-2: %s of a blob says its digest and length', async (method) => {
      for (const { digest, size } of known.blobs) {
        const { status, headers } = await inName(`blobs/${digest}`, { method });
        expect(status).toBe(200);
        expect(headers.get('docker-content-digest')).toBe(digest);
        expect(headers.get('content-length')).toBe(String(size));
      }
    });

    it.each(['GET', 'HEAD'])('end-2: %s of a blob that is not there is 404', async (method) => {
      const got = await inName(`blobs/${absentDigest()}`, { method });
      expect(got.status).toBe(404);
      if (method === 'GET') expect(codeOf(got)).toBe('BLOB_UNKNOWN');
    });
  });

  describe('#error-codes', () => {
    it.each([
      ['GET', 'blobs/sha256:totallywrong', 400, 'DIGEST_INVALID'],
      ['GET', 'manifests/sha256:totallywrong', 400, 'DIGEST_INVALID'],
      ['PUT', 'manifests/sha256:totallywrong', 400, 'DIGEST_INVALID'],
      ['GET', 'referrers/sha256:totallywrong', 400, 'DIGEST_INVALID'],
      ['PUT', 'manifests/single', 403, 'DENIED'],
      ['DELETE', 'manifests/single', 403, 'DENIED'],
      ['POST', 'blobs/uploads/', 403, 'DENIED'],
    ])('%s of %s is %i %s, as JSON', async (method, path, status, code) => {
      const got = await inName(path, { method });
      expect([got.status, codeOf(got)]).toEqual([status, code]);
      expect(got.headers.get('content-type')).toMatch(/^application\/json/);
    });
  });

  describe('#listing-tags', () => {
    const tagsOf = ({ text }: Got) => (JSON.parse(text) as { name: string; tags: string[] | null }).tags ?? [];
    const all = async () => tagsOf(await inName('tags/list')).toSorted();

    it('end-8a: lists every tag, once, under the name that was asked for', async () => {
      const got = await inName('tags/list');
      expect(got.status).toBe(200);
      expect(JSON.parse(got.text)).toMatchObject({ name: front.name });
      expect(new Set(await all())).toEqual(new Set(await upstreamTags()));
      expect(await all()).toEqual(expect.arrayContaining(Object.keys(tagged)));
    });

    it('end-8b: n limits, and Link leads to the rest', async () => {
      const tags = await all();
      for (const n of [1, 2, tags.length - 1, tags.length, tags.length + 1]) {
        const pages: string[][] = [];
        for (let path: string | undefined = `${front.name}/tags/list?n=${n}`; path !== undefined; ) {
          const got = await ask(path);
          expect(got.status).toBe(200);
          pages.push(tagsOf(got));
          const [, next] = /^<\/v2\/([^>]+)>; rel="next"$/.exec(got.headers.get('link') ?? '') ?? [];
          // Fewer than n only where there are no more.
          expect(pages.at(-1)!.length).toBe(next === undefined ? pages.at(-1)!.length : n);
          expect(pages.at(-1)!.length).toBeLessThanOrEqual(n);
          path = next;
        }
        // One page of all is as the upstream gives it, and not every upstream sorts.
        expect(n < tags.length ? pages.flat() : pages.flat().toSorted()).toEqual(tags);
      }
    });

    it('end-8b: last starts behind itself', async () => {
      const tags = await all();
      for (const [at, last] of tags.entries()) {
        expect(tagsOf(await inName(`tags/list?last=${last}`))).toEqual(tags.slice(at + 1));
        expect(tagsOf(await inName(`tags/list?n=2&last=${last}`))).toEqual(tags.slice(at + 1, at + 3));
      }
    });

    it('end-8b: n=0 is an empty list without a Link', async () => {
      const got = await inName('tags/list?n=0');
      expect([got.status, tagsOf(got), got.headers.get('link')]).toEqual([200, [], null]);
    });

    it('end-8a: a repository that is not there is 404', async () => {
      const got = await ask(`${upstreamKey}/library/no-such-repository/tags/list`);
      expect([got.status, codeOf(got)]).toEqual([404, 'NAME_UNKNOWN']);
    });

    const upstreamTags = async () => {
      const answer = await fetch(`${front.registry.url}/v2/${repository}/tags/list`);
      return ((await answer.json()) as { tags: string[] }).tags;
    };
  });

  describe('#listing-referrers', () => {
    const list = async (digest: string, query = '') => {
      const got = await inName(`referrers/${digest}${query}`);
      const index = JSON.parse(got.text) as { schemaVersion: number; mediaType: string; manifests: readonly object[] };
      return { ...got, index };
    };
    const sorted = (entries: readonly object[]) =>
      entries.map((entry) => (entry as { digest: string }).digest).toSorted();

    it('end-12a: is an index of all that names the subject', async () => {
      const { status, headers, index } = await list(attached.subject.manifest.digest);
      expect([status, headers.get('content-type')]).toEqual([200, 'application/vnd.oci.image.index.v1+json']);
      expect(index).toMatchObject({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json' });
      expect(sorted(index.manifests)).toEqual(attached.referrers.map(({ manifest }) => manifest.digest).toSorted());
      for (const { manifest } of attached.referrers) {
        expect(index.manifests).toContainEqual(
          expect.objectContaining({ mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.size }),
        );
      }
    });

    it.each(artifactTypes)('end-12b: artifactType=%s is applied, and said to be', async (type) => {
      const { status, headers, index } = await list(
        attached.subject.manifest.digest,
        `?artifactType=${encodeURIComponent(type)}`,
      );
      expect([status, headers.get('oci-filters-applied')]).toEqual([200, 'artifactType']);
      expect(index.manifests).toEqual([expect.objectContaining({ artifactType: type })]);
    });

    it('end-12a: is an empty index where nothing names the subject, never 404', async () => {
      for (const digest of [known.manifest.digest, absentDigest()]) {
        const { status, index } = await list(digest);
        expect([status, index.manifests]).toEqual([200, []]);
      }
    });
  });
});
