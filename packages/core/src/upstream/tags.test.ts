import { type FakeUpstream, htmlPage, jsonAnswer, manualClock, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { createClient } from './client.ts';
import type { Upstream } from './upstream.ts';

const signal = new AbortController().signal;
const query = { repository: 'team/app', scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal };
const path = '/v2/team/app/tags/list';

let registry: FakeUpstream;
let upstream: Upstream;

beforeEach(async () => {
  registry = await startFakeUpstream({ pageLimit: 2 });
  const settings = upstreamSettings({ key: 'hub', url: registry.url });
  upstream = createClient(settings, { clock: manualClock(), observe: () => undefined });
  for (const tag of ['a', 'b', 'c', 'd', 'e']) registry.addImage('team/app', { tag });
});
afterEach(async () => {
  await upstream.close();
  await registry.stop();
});

it('gives the pages of the upstream as it cuts them, and a cursor from each to the next', async () => {
  const pages: (readonly string[])[] = [];
  let cursor: string | undefined;
  do {
    const reply = await upstream.listTags({ ...query, ...(cursor !== undefined && { cursor }) });
    if (reply.kind !== 'found') throw new Error(reply.kind);
    pages.push(reply.value.tags);
    cursor = reply.value.next;
  } while (cursor !== undefined);
  expect(pages).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
});

it('passes n and last on', async () => {
  expect(await upstream.listTags({ ...query, n: 1, last: 'b' })).toMatchObject({ value: { tags: ['c'] } });
  expect(registry.requests[0]!.query.toString()).toBe('n=1&last=b');
});

it('keeps the order of the upstream, and takes null for an empty list', async () => {
  registry.on({ path, times: 1 }, jsonAnswer(200, { name: 'team/app', tags: ['z', 'a'] }));
  expect(await upstream.listTags(query)).toEqual({ kind: 'found', value: { tags: ['z', 'a'] } });
  registry.on({ path, times: 1 }, jsonAnswer(200, { name: 'team/app', tags: null }));
  expect(await upstream.listTags(query)).toEqual({ kind: 'found', value: { tags: [] } });
});

it('asks the upstream itself for the next page where its link names another origin', async () => {
  const link = '<http://registry.internal/v2/team/app/tags/list?n=2&last=b>; rel="next"';
  registry.on({ path, times: 1 }, jsonAnswer(200, { tags: ['a', 'b'] }, { link }));
  expect(await upstream.listTags(query)).toEqual({ kind: 'found', value: { tags: ['a', 'b'], next: 'n=2&last=b' } });
  const next = await upstream.listTags({ ...query, cursor: 'n=2&last=b' });
  expect(next).toMatchObject({ kind: 'found', value: { tags: ['c', 'd'] } });
});

it('asks a cache behind this one for no other registry by a cursor that a client made up', async () => {
  await upstream.listTags({ ...query, cursor: 'n=2&ns=ghcr.io&%6Es=quay.io' });
  expect(registry.requests.at(-1)?.query.toString()).toBe('n=2');
});

it('asks for nothing but the next page by whatever cursor a client makes up', async () => {
  await upstream.listTags({ ...query, cursor: '../../../secret?x#y&last=a' });
  expect(registry.requests.map((request) => request.path)).toEqual([path]);
  await expect(upstream.listTags({ ...query, cursor: 'x'.repeat(3_000) })).rejects.toMatchObject({
    code: 'page-invalid',
  });
});

it('is absent for a repository that the upstream does not know', async () => {
  expect(await upstream.listTags({ ...query, repository: 'no/such' })).toMatchObject({
    kind: 'absent',
    code: 'NAME_UNKNOWN',
  });
});

it('does not take a list for whole whose link to the next page is too long to be followed', async () => {
  registry.on({ path }, jsonAnswer(200, { tags: ['a'] }, { link: `</v2/a?last=${'b'.repeat(3_000)}>; rel="next"` }));
  await expect(upstream.listTags(query)).rejects.toMatchObject({ code: 'too-large' });
});

const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;

it.each([
  ['a web page', htmlPage(200, 'Sign in'), 'foreign-answer'],
  ['a list that is none', jsonAnswer(200, { tags: 'a' }), 'foreign-answer'],
  ['no list at all', jsonAnswer(200, {}), 'foreign-answer'],
  ['a list nested without an end', { status: 200, body: `{"tags":[],"x":${deep}}` }, 'foreign-answer'],
  ['5xx', { status: 500 }, 'server-error'],
  ['429', { status: 429 }, 'rate-limited'],
  ['more than 8 MiB', { status: 200, body: Buffer.alloc(9 * 1024 * 1024) }, 'too-large'],
] as const)('fails on %s', async (_what, fault, code) => {
  registry.on({ path }, fault);
  await expect(upstream.listTags(query)).rejects.toMatchObject({ code });
});
