import { ProxyCacheError } from '@proxycache/core';
import type { AdminOptions } from './admin-options.ts';
import type { Operation } from './operation.ts';

interface ServerParts {
  metrics: AdminOptions['metrics'];
  /** @param at the path that those of the API are below */
  document(at: string): unknown;
}

/** What the API says of itself and of its process. */
export function serverOperations({ metrics, document }: ServerParts): readonly Operation[] {
  return [
    {
      id: 'metrics.get',
      method: 'GET',
      path: '/metrics',
      summary: 'The metrics of this process, as Prometheus reads them; 404 where the host gives none.',
      answers: { 200: { description: 'They', contentType: 'text/plain' } },
      async run() {
        if (!metrics) throw new ProxyCacheError('unsupported', 'there are no metrics: createAdmin was given none');
        return { status: 200, text: { contentType: metrics.contentType, body: await metrics.text() } };
      },
    },
    {
      id: 'openapi.get',
      method: 'GET',
      path: '/openapi.json',
      summary: 'This document.',
      answers: { 200: { description: 'OpenAPI 3.1', schema: { type: 'object' } } },
      run: ({ at }) => ({ status: 200, json: document(at) }),
    },
  ];
}
