import { type ProxyCache, ProxyCacheError, type UpstreamChange, type UpstreamOptions } from '@proxycache/core';
import { refuseHostCredentials } from './host-credentials.ts';
import { type Call, inPath, type Operation } from './operation.ts';
import { listOf, record } from './schema.ts';
import { upstreamChangeSchema, upstreamOptionsSchema } from './upstream-options-schema.ts';
import { upstreamCheckSchema, upstreamSchema } from './upstream-schemas.ts';

const key = inPath('key', 'Key of the upstream');
const keyOf = ({ path }: Call) => path['key'] ?? '';

/** What upstreams there are, how they are doing, and changes of them while they are used. */
export function upstreamOperations(
  { upstreams }: Pick<ProxyCache, 'upstreams'>,
  allowed: Parameters<typeof refuseHostCredentials>[1],
): readonly Operation[] {
  function told() {
    const status = new Map(upstreams.status().map((one) => [one.key, one]));
    return upstreams.list().map((one) => ({ ...one, status: status.get(one.key) }));
  }

  function oneOf(wanted: string) {
    const found = told().find((one) => one.key === wanted);
    if (found) return found;
    throw new ProxyCacheError('name-unknown', `${JSON.stringify(wanted.slice(0, 60))} is no upstream's key`);
  }

  /** What the body says, which is checked by its schema. */
  function bodyOf<T extends Parameters<typeof refuseHostCredentials>[0]>({ body }: Call): T {
    refuseHostCredentials(body as T, allowed);
    return body as T;
  }

  return [
    {
      id: 'upstreams.list',
      method: 'GET',
      path: '/upstreams',
      summary: 'Lists the upstreams, and how they are doing.',
      answers: { 200: { description: 'They', schema: record({ upstreams: listOf(upstreamSchema) }) } },
      run: () => ({ status: 200, json: { upstreams: told() } }),
    },
    {
      id: 'upstreams.add',
      method: 'POST',
      path: '/upstreams',
      summary: 'Adds an upstream, which is used from then on.',
      body: upstreamOptionsSchema,
      answers: { 201: { description: 'It is there; Location says where it is told of', schema: upstreamSchema } },
      async run(call) {
        const options = bodyOf<UpstreamOptions>(call);
        await upstreams.add(options);
        return { status: 201, json: oneOf(options.key), headers: { location: `${call.at}/upstreams/${options.key}` } };
      },
    },
    {
      id: 'upstreams.get',
      method: 'GET',
      path: '/upstreams/{key}',
      summary: 'Tells of one upstream.',
      parameters: [key],
      answers: { 200: { description: 'The upstream', schema: upstreamSchema } },
      run: (call) => ({ status: 200, json: oneOf(keyOf(call)) }),
    },
    {
      id: 'upstreams.update',
      method: 'PATCH',
      path: '/upstreams/{key}',
      summary:
        'Changes what is named of an upstream; what runs ends as it began. To change where its secret goes (`url`, `endpoints`, `tls`, `proxy`, `tokenHosts`), give `auth` again.',
      parameters: [key],
      body: upstreamChangeSchema,
      answers: { 200: { description: 'The upstream as it is now', schema: upstreamSchema } },
      async run(call) {
        await upstreams.update(keyOf(call), bodyOf<UpstreamChange>(call));
        return { status: 200, json: oneOf(keyOf(call)) };
      },
    },
    {
      id: 'upstreams.remove',
      method: 'DELETE',
      path: '/upstreams/{key}',
      summary: 'Removes an upstream; pulls of it that run end by themselves, later ones get 404.',
      parameters: [key],
      answers: { 204: { description: 'It is gone' } },
      async run(call) {
        await upstreams.remove(keyOf(call));
        return { status: 204 };
      },
    },
    {
      id: 'upstreams.check',
      method: 'POST',
      path: '/upstreams/{key}/check',
      summary: 'Asks an upstream whether it is there, is a registry and lets us in.',
      parameters: [key],
      answers: { 200: { description: 'What it found, also where that is not well', schema: upstreamCheckSchema } },
      run: async (call) => ({
        status: 200,
        json: await upstreams.check(keyOf(call), { signal: call.request.signal }),
      }),
    },
    {
      id: 'upstreams.try',
      method: 'POST',
      path: '/check',
      summary: 'Asks the same of an upstream that is none yet, by the options it would have.',
      body: upstreamOptionsSchema,
      answers: { 200: { description: 'What it found', schema: upstreamCheckSchema } },
      run: async (call) => ({
        status: 200,
        json: await upstreams.check(bodyOf<UpstreamOptions>(call), { signal: call.request.signal }),
      }),
    },
  ];
}
