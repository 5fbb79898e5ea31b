import type { ProxyCache, Purge } from '@proxycache/core';
import type { Operation } from './operation.ts';
import { purgeReportSchema, purgeSchema } from './purge-schemas.ts';

/** What an operator has removed of what is stored. */
export function purgeOperations(cache: Pick<ProxyCache, 'purge'>): readonly Operation[] {
  return [
    {
      id: 'purge',
      method: 'POST',
      path: '/purge',
      summary:
        'Removes what is stored of a tag, a digest, a repository or an upstream, and answers when it is gone. It ends with its request: what takes long is better a job.',
      body: purgeSchema,
      answers: { 200: { description: 'What is gone', schema: purgeReportSchema } },
      run: async ({ body, request }) => ({
        status: 200,
        json: await cache.purge(body as Purge, { signal: request.signal }),
      }),
    },
  ];
}
