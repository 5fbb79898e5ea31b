import assert from 'node:assert/strict';
import { digestOf, isUpstreamError, type Upstream } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { type CommonQuery, found, imageOf, type MakeUpstream, manifestType, upstreamCase } from './harness.ts';

const digest = digestOf(Buffer.from('some content'));

/** Each question, once. */
const everyQuestion = (upstream: Upstream, query: CommonQuery): Record<string, () => Promise<unknown>> => ({
  resolve: () => upstream.resolve({ ...query, tag: '1' }),
  statManifest: () => upstream.statManifest({ ...query, digest }),
  'fetchManifest by tag': () => upstream.fetchManifest({ ...query, reference: { kind: 'tag', tag: '1' } }),
  'fetchManifest by digest': () => upstream.fetchManifest({ ...query, reference: { kind: 'digest', digest } }),
  statBlob: () => upstream.statBlob({ ...query, digest }),
  fetchBlob: () => upstream.fetchBlob({ ...query, digest, from: 0 }),
  'fetchBlob from a position': () => upstream.fetchBlob({ ...query, digest, from: 5 }),
  listTags: () => upstream.listTags(query),
  listReferrers: () => upstream.listReferrers({ ...query, digest }),
  ping: () => upstream.ping(query),
});

/** Rules of what an upstream could not say, and of how it is doing. */
export const failureCases: Contract<MakeUpstream> = [
  upstreamCase('throws what it could not say, and never tells it as absent', async (fixture) => {
    const { upstream, putManifest, endRegistry, monotonic, query } = fixture;
    await putManifest(query.repository, imageOf(), { mediaType: manifestType, tags: ['1'] });
    await endRegistry();
    // It may try again until then.
    const questions = everyQuestion(upstream, { ...query, deadlineAt: monotonic() + 1_000 });
    await Promise.all(
      Object.entries(questions).map(([name, ask]) =>
        assert.rejects(ask(), (error) => isUpstreamError(error), `${name} gave an answer`),
      ),
    );
  }),

  upstreamCase('does nothing for a caller that has given up', async ({ upstream, putManifest, query }) => {
    await putManifest(query.repository, imageOf(), { mediaType: manifestType, tags: ['1'] });
    const gaveUp = new Error('gave up');
    const left = { ...query, signal: AbortSignal.abort(gaveUp) };
    for (const [name, ask] of Object.entries(everyQuestion(upstream, left))) {
      await assert.rejects(ask(), (error) => error === gaveUp, name);
    }
    // It was not the upstream that failed.
    assert.equal(upstream.state(query), 'closed');
    found(await upstream.resolve({ ...query, tag: '1' }));
  }),

  upstreamCase('says that it is there, and how it is doing', async ({ upstream, query }) => {
    assert.equal(found(await upstream.ping(query)), undefined);
    assert.equal(upstream.state(query), 'closed');
    const { key, state, hosts } = upstream.status();
    assert.notEqual(key, '');
    assert.equal(state, 'closed');
    assert.ok(hosts.every((host) => host.state === 'closed'));
  }),
];
