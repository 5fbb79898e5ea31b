import type { UpstreamOptions } from '@proxycache/core';
import type { FakeUpstream } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { startCache, startUpstream } from './cache-under-test.ts';
import type { Got } from './request.ts';

/** A private registry and a public one as the group `all`, in that order. */
async function startGroup(corpOptions: Partial<UpstreamOptions> = {}) {
  const [corp, hub] = [await startUpstream(), await startUpstream()];
  const cache = await startCache({
    upstreams: [
      { key: 'corp', url: corp.url, ...corpOptions },
      { key: 'hub', url: hub.url },
    ],
    groups: [{ key: 'all', upstreams: ['corp', 'hub'] }],
  });
  const owners = async () =>
    (await cache.cache.groups.pins('all')).map(({ repository, upstream }) => `${repository} of ${upstream}`);
  return { corp, hub, cache, owners };
}

/** The registry knows every repository, as far as it says, and no tag of those that it does not have. */
function listNothing(registry: FakeUpstream, tags: [] | null = []): void {
  const headers = { 'content-type': 'application/json' };
  registry.change({
    personality: {
      alter(answer, { path }) {
        if (answer.status !== 404) return answer;
        if (path.endsWith('/tags/list')) return { status: 200, headers, body: JSON.stringify({ name: 'any', tags }) };
        return { ...answer, body: String(answer.body).replace('NAME_UNKNOWN', 'MANIFEST_UNKNOWN') };
      },
    },
  });
}

const refusal = (status: number, code: string) => ({
  status,
  body: JSON.stringify({ errors: [{ code, message: 'no' }] }),
});
const digestIn = ({ headers }: Got) => headers['docker-content-digest'];
const tagsIn = ({ body }: Got) => JSON.parse(body.toString()).tags;

// As Distribution 2.1.1 on S3 (distribution/distribution#1186).
test.each<{ tags: [] | null }>([{ tags: [] }, { tags: null }])(
  'a first member that lists $tags as the tags of what it does not have was given the repository',
  async ({ tags }) => {
    const { corp, hub, cache, owners } = await startGroup();
    listNothing(corp, tags);
    const alpine = hub.addImage('library/alpine', { tag: '3' });
    hub.addImage('app', { tag: '1' });
    expect(digestIn(await cache.get('/v2/all/library/alpine/manifests/3'))).toBe(alpine.root.digest);
    expect(tagsIn(await cache.get('/v2/all/app/tags/list'))).toEqual(['1']);
    expect(await owners()).toEqual(['app of hub', 'library/alpine of hub']);
  },
);

test('a repository of which every member lists no tags belongs to nobody', async () => {
  const { corp, hub, cache, owners } = await startGroup();
  for (const registry of [corp, hub]) listNothing(registry);
  for (const rest of ['tags/list', 'manifests/1']) expect((await cache.get(`/v2/all/app/${rest}`)).status).toBe(404);
  expect(await owners()).toEqual([]);
});

test('an empty list of tags takes no repository from the member that owns it', async () => {
  const { corp, hub, cache, owners } = await startGroup();
  corp.addImage('app', { tag: '1', seed: 'corp' });
  expect((await cache.get('/v2/all/app/manifests/1')).status).toBe(200);
  hub.addImage('app', { tag: '1', seed: 'impostor' });
  corp.on({ path: /tags/ }, { status: 200, body: JSON.stringify({ name: 'app', tags: [] }) });
  corp.on({ path: /manifests/ }, refusal(404, 'MANIFEST_UNKNOWN'));
  expect(tagsIn(await cache.get('/v2/all/app/tags/list'))).toEqual([]);
  expect((await cache.get('/v2/all/app/manifests/1')).status).toBe(404);
  expect(await owners()).toEqual(['app of corp']);
  expect(hub.requests).toEqual([]);
});

test.each(['manifests/latest', 'manifests/2', 'tags/list'])(
  'a list is not empty because all its tags are excluded: a member that has such a repository owns it by %s',
  async (rest) => {
    const { corp, hub, cache, owners } = await startGroup({ exclude: { tags: ['latest'] } });
    for (const registry of [corp, hub]) registry.addImage('app', { tag: 'latest' });
    await cache.get(`/v2/all/app/${rest}`);
    expect(await owners()).toEqual(['app of corp']);
    expect(hub.requests).toEqual([]);
  },
);

test('an empty list of tags makes no "absent" of a denial by a member with a credential', async () => {
  const auth = { username: 'ann', password: 'a' };
  const { corp, hub, cache, owners } = await startGroup({ deniedMayMeanAbsent: true, auth });
  listNothing(corp);
  hub.addImage('app', { tag: '1' });
  corp.on({ path: /manifests/ }, refusal(403, 'DENIED'));
  expect((await cache.get('/v2/all/app/manifests/1')).status).toBe(403);
  expect(hub.requests).toEqual([]);
  expect(await owners()).toEqual([]);
});
