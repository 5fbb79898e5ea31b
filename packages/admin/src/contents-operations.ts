import type { ContentsPage, ProxyCache } from '@proxycache/core';
import { type Call, inQuery, type Operation } from './operation.ts';
import { count, flag, instant, listOf, record, type Schema, text, word } from './schema.ts';

const page = [
  inQuery('after', '`next` of the page before', { type: 'string', maxLength: 1024 }),
  inQuery('limit', 'Entries at most; a page may be shorter, and have a next one', {
    type: 'integer',
    minimum: 1,
    maximum: 1000,
    default: 100,
  }),
];
const key = inQuery('upstream', 'Key of the upstream', { type: 'string', minLength: 1, maxLength: 255 });
const repository = inQuery('repository', 'As the upstream names it: `library/alpine`', {
  type: 'string',
  minLength: 1,
  maxLength: 255,
});
const ofRepository = [{ ...key, required: true }, { ...repository, required: true }, ...page];

const next: Schema = { ...text, description: 'There is more: `after` of the page that follows' };

const extent: Readonly<Record<string, Schema>> = {
  complete: { ...flag, description: 'Whether it can be pulled whole from here; of an index, any one of its platforms' },
  storedBytes: { ...count, description: 'Bytes of it that are here' },
  platforms: listOf(text, { description: 'Of an index: the platforms that are here whole' }),
};

const tag = record(
  {
    tag: text,
    state: {
      ...word('fresh', 'stale', 'known', 'absent', 'denied'),
      description: '`known`: its manifest is not here; `absent`, `denied`: the last word of the upstream',
    },
    digest: text,
    mediaType: text,
    validatedAt: instant,
    usedAt: instant,
    ...extent,
  },
  { title: 'StoredTag', optional: ['digest', 'mediaType', 'validatedAt', 'usedAt', ...Object.keys(extent)] },
);

const manifest = record(
  {
    digest: text,
    mediaType: text,
    size: { ...count, description: 'Of the manifest itself, in bytes' },
    provenAt: { ...instant, description: 'When the upstream last proved that it has it' },
    usedAt: instant,
    ...extent,
  },
  { title: 'StoredManifest', optional: ['size', 'usedAt', 'platforms'] },
);

/** What is stored. */
export function contentsOperations({ contents }: Pick<ProxyCache, 'contents'>): readonly Operation[] {
  return [
    {
      id: 'repositories.list',
      method: 'GET',
      path: '/repositories',
      summary: 'Lists the repositories that something is stored of.',
      parameters: [key, ...page],
      answers: {
        200: {
          description: 'A page of them',
          schema: listed('repositories', record({ upstream: text, repository: text }, { title: 'StoredRepository' })),
        },
      },
      run: async (call) => ({ status: 200, json: await contents.repositories(asked(call)) }),
    },
    {
      id: 'tags.list',
      method: 'GET',
      path: '/tags',
      summary: 'Lists the tags of a repository, each as it would be answered now.',
      parameters: ofRepository,
      answers: { 200: { description: 'A page of them', schema: listed('tags', tag) } },
      run: async (call) => ({ status: 200, json: await contents.tags(askedIn(call)) }),
    },
    {
      id: 'manifests.list',
      method: 'GET',
      path: '/manifests',
      summary: 'Lists the manifests of a repository.',
      parameters: ofRepository,
      answers: { 200: { description: 'A page of them', schema: listed('manifests', manifest) } },
      run: async (call) => ({ status: 200, json: await contents.manifests(askedIn(call)) }),
    },
  ];
}

const listed = (name: string, entry: Schema) => record({ [name]: listOf(entry), next }, { optional: ['next'] });

function asked({ query, request }: Call): ContentsPage & { upstream?: string } {
  return { ...(query as ContentsPage & { upstream?: string }), signal: request.signal };
}

function askedIn(call: Call): ContentsPage & { upstream: string; repository: string } {
  const { upstream = '', repository: name } = call.query;
  return { ...asked(call), upstream: `${upstream}`, repository: `${name}` };
}
