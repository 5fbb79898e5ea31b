import { type ProxyCache, ProxyCacheError } from '@proxycache/core';
import { inPath, inQuery, type Operation } from './operation.ts';
import { instant, listOf, record, text } from './schema.ts';

const key = inPath('key', 'Key of the group');
const repository = {
  ...inQuery('repository', 'As the group names it', { type: 'string', minLength: 1 }),
  required: true,
};
const usualLimit = 100;

const pin = record(
  {
    repository: text,
    upstream: { ...text, description: 'The member that owns it; missing where the record cannot be read' },
    pinnedAt: instant,
  },
  { title: 'Pin', optional: ['upstream', 'pinnedAt'] },
);

/** Which members of a group own which repositories because they had them first. */
export function groupOperations({ groups }: Pick<ProxyCache, 'groups'>): readonly Operation[] {
  return [
    {
      id: 'pins.list',
      method: 'GET',
      path: '/groups/{key}/pins',
      summary: 'Lists the repositories of a group that a member owns, as it had them first.',
      parameters: [
        key,
        inQuery('after', '`next` of the page before', { type: 'string', minLength: 1, maxLength: 512 }),
        inQuery('limit', 'Entries at most', { type: 'integer', minimum: 1, maximum: 1000, default: usualLimit }),
      ],
      answers: {
        200: {
          description: 'A page of them',
          schema: record({ pins: listOf(pin), next: text }, { optional: ['next'] }),
        },
      },
      async run({ path, query }) {
        const { after, limit = usualLimit } = query as { after?: string; limit?: number };
        const pins = await groups.pins(path['key'] ?? '', { ...(after !== undefined && { after }), limit });
        const next = pins.length === limit ? pins.at(-1)?.repository : undefined;
        return { status: 200, json: { pins, next } };
      },
    },
    {
      id: 'pins.remove',
      method: 'DELETE',
      path: '/groups/{key}/pins',
      summary: 'Lets go of a repository of a group: whichever member has it first owns it next.',
      parameters: [key, repository],
      answers: { 204: { description: 'Nobody owns it' } },
      async run({ path, query }) {
        const name = `${query['repository']}`;
        if (await groups.unpin(path['key'] ?? '', name)) return { status: 204 };
        throw new ProxyCacheError('name-unknown', `no member owns ${JSON.stringify(name.slice(0, 255))}`);
      },
    },
  ];
}
