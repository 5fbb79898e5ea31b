import assert from 'node:assert/strict';
import { digestOf } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { found, imageOf, type MakeUpstream, manifestType, upstreamCase } from './harness.ts';

const indexType = 'application/vnd.oci.image.index.v1+json';
const dockerType = 'application/vnd.docker.distribution.manifest.v2+json';

/** Rules of `resolve`, `statManifest` and `fetchManifest`. */
export const manifestCases: Contract<MakeUpstream> = [
  upstreamCase('says what a tag stands for, also when it was moved', async ({ upstream, putManifest, query }) => {
    for (const name of ['first', 'second']) {
      const image = { ...imageOf(), annotations: { name } };
      const { digest, size, mediaType } = await putManifest(query.repository, image, {
        mediaType: manifestType,
        tags: ['1', 'V1.0_rc-1'],
      });
      for (const tag of ['1', 'V1.0_rc-1']) {
        const { bytes, ...said } = found(await upstream.resolve({ ...query, tag }));
        assert.deepEqual(said, { digest, size, mediaType });
        if (bytes) assert.equal(digestOf(bytes), digest);
      }
    }
  }),

  upstreamCase('tells what is not there as absent', async ({ upstream, putManifest, query }) => {
    const { digest } = await putManifest(query.repository, imageOf(), { mediaType: manifestType, tags: ['1'] });
    const other = { ...query, repository: 'library/other' };
    const none = digestOf(Buffer.from('never put there'));
    for (const asked of [
      upstream.resolve({ ...query, tag: '2' }),
      upstream.resolve({ ...other, tag: '1' }),
      upstream.statManifest({ ...query, digest: none }),
      upstream.statManifest({ ...other, digest }),
      upstream.fetchManifest({ ...query, reference: { kind: 'tag', tag: '2' } }),
      upstream.fetchManifest({ ...query, reference: { kind: 'digest', digest: none } }),
      upstream.fetchManifest({ ...other, reference: { kind: 'digest', digest } }),
    ]) {
      const reply = await asked;
      assert.equal(reply.kind, 'absent', JSON.stringify(reply));
    }
  }),

  upstreamCase('says whether a repository has a manifest', async ({ upstream, putManifest, query }) => {
    const { digest, size } = await putManifest(query.repository, imageOf(), { mediaType: manifestType });
    const said = found(await upstream.statManifest({ ...query, digest }));
    assert.deepEqual(said, { digest, size, mediaType: manifestType });
  }),

  upstreamCase('gives a manifest byte for byte, by tag and by digest', async ({ upstream, putManifest, query }) => {
    const texts: Record<string, string> = {
      [manifestType]: JSON.stringify(imageOf(), null, 3),
      [dockerType]: JSON.stringify({ ...imageOf(), mediaType: dockerType }),
      [indexType]: `${JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [], 'x-ü': '漢字' })}\n\n`,
    };
    for (const [at, [mediaType, text]] of Object.entries(texts).entries()) {
      const tag = `v${at}`;
      const bytes = Buffer.from(text);
      const { digest } = await putManifest(query.repository, bytes, { mediaType, tags: [tag] });
      for (const reference of [{ kind: 'tag', tag } as const, { kind: 'digest', digest } as const]) {
        const got = found(await upstream.fetchManifest({ ...query, reference }));
        assert.deepEqual(got.descriptor, { digest, size: bytes.byteLength, mediaType });
        assert.deepEqual(Buffer.from(got.bytes), bytes);
      }
    }
  }),

  upstreamCase('gives many manifests that are asked for at the same time', async ({ upstream, putManifest, query }) => {
    const made = await Promise.all(
      Array.from({ length: 30 }, (_, at) =>
        putManifest(query.repository, { ...imageOf(), annotations: { at: String(at) } }, { mediaType: manifestType }),
      ),
    );
    const got = await Promise.all(
      made.map(({ digest }) => upstream.fetchManifest({ ...query, reference: { kind: 'digest', digest } })),
    );
    assert.deepEqual(
      got.map((reply) => found(reply).descriptor.digest),
      made.map(({ digest }) => digest),
    );
  }),
];
