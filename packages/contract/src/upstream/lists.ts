import assert from 'node:assert/strict';
import type { Upstream } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { type CommonQuery, found, imageOf, type MakeUpstream, manifestType, upstreamCase } from './harness.ts';

/** Every tag, page by page. */
async function allTags(upstream: Upstream, query: CommonQuery, page: { n?: number; last?: string }): Promise<string[]> {
  const tags: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const { tags: some, next } = found(
      await upstream.listTags({ ...query, ...(cursor === undefined ? page : { cursor }) }),
    );
    tags.push(...some);
    if (next === undefined) return tags;
    cursor = next;
  }
}

/** Rules of `listTags` and `listReferrers`. */
export const listCases: Contract<MakeUpstream> = [
  upstreamCase('lists the tags of a repository, in pages of any size and after any tag', async (fixture) => {
    const { upstream, putManifest, query } = fixture;
    const tags = Array.from({ length: 25 }, (_, at) => `v${String(at).padStart(2, '0')}`);
    await putManifest(query.repository, imageOf(), { mediaType: manifestType, tags });
    assert.deepEqual(await allTags(upstream, query, {}), tags);
    for (const n of [1, 7, 25, 100]) assert.deepEqual(await allTags(upstream, query, { n }), tags, `pages of ${n}`);
    assert.deepEqual(await allTags(upstream, query, { n: 4, last: 'v19' }), tags.slice(20));
  }),

  upstreamCase('tells the tags of a repository that is not there as absent', async ({ upstream, query }) => {
    const reply = await upstream.listTags({ ...query, repository: 'library/none' });
    assert.equal(reply.kind, 'absent', JSON.stringify(reply));
  }),

  upstreamCase('lists what refers to a manifest, with all that it says of itself', async (fixture) => {
    const { upstream, putManifest, query } = fixture;
    const subject = await putManifest(query.repository, imageOf(), { mediaType: manifestType });
    assert.deepEqual(found(await upstream.listReferrers({ ...query, digest: subject.digest })), { manifests: [] });
    const made: string[] = [];
    for (const name of ['signature', 'sbom']) {
      const artifact = { ...imageOf(), artifactType: `application/${name}`, subject, annotations: { name } };
      made.push((await putManifest(query.repository, artifact, { mediaType: manifestType })).digest);
    }
    const { manifests } = found(await upstream.listReferrers({ ...query, digest: subject.digest }));
    assert.deepEqual(manifests.map(({ digest }) => digest).sort(), made.sort());
    assert.deepEqual(manifests.map(({ artifactType }) => artifactType).sort(), [
      'application/sbom',
      'application/signature',
    ]);
    for (const { artifactType, annotations } of manifests) {
      assert.deepEqual(annotations, { name: String(artifactType).slice('application/'.length) });
    }
  }),
];
