import { createAdmin } from '@proxycache/admin';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { Told } from './tell.ts';

interface OperationObject {
  operationId: string;
  responses: Record<string, { content?: Record<string, object> }>;
}

/** The document, as a cache with one upstream tells it. */
export const api = await readDocument();

/** The operations that were asked and answered well, by their ids. */
export const exercised = new Set<string>();

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema(api, 'api');
const validators = new Map<string, ValidateFunction>();

/** Throws unless an answer is one of those that the document tells of its operation. */
export function checkAnswer(method: string, path: string, told: Told): void {
  const [operation, pointer] = operationOf(method, path);
  const type = told.headers['content-type']?.split(';', 1)[0];
  if (told.status >= 400) {
    valid('#/components/schemas/Problem', told, type === 'application/problem+json');
    return;
  }
  if (!operation) return;
  const described = operation.responses[told.status];
  if (!described) throw new Error(`${method} ${path}: the document says nothing of a ${told.status}`);
  exercised.add(operation.operationId);
  if (method === 'HEAD') return;
  const content = described.content ?? {};
  if (Object.keys(content).join() !== (type ?? '')) throw new Error(`${method} ${path}: it is of type ${type}`);
  if (type !== 'application/json') return;
  valid(`${pointer}/responses/${told.status}/content/application~1json/schema`, told, true);
}

function valid(pointer: string, { json, text }: Told, isRightType: boolean): void {
  if (!isRightType) throw new Error(`a failure that is no problem: ${text}`);
  const validate = validators.get(pointer) ?? ajv.compile({ $ref: `api${pointer}` });
  validators.set(pointer, validate);
  if (json !== undefined && !validate(json)) throw new Error(`${ajv.errorsText(validate.errors)}: ${text}`);
}

function operationOf(method: string, asked: string): [OperationObject | undefined, string] {
  const [path = ''] = asked.split('?', 1);
  const verb = method === 'HEAD' ? 'get' : method.toLowerCase();
  for (const [template, operations] of Object.entries(api.paths)) {
    const pattern = new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`);
    if (pattern.test(path)) {
      return [
        operations[verb],
        `#/paths/${template.replaceAll('/', '~1').replaceAll(/[{}]/g, encodeURIComponent)}/${verb}`,
      ];
    }
  }
  return [undefined, ''];
}

async function readDocument(): Promise<{ openapi: string; paths: Record<string, Record<string, OperationObject>> }> {
  const cache = createProxyCache({
    upstreams: [{ key: 'my-own', url: 'http://127.0.0.1:1' }],
    storage: memoryStorage(),
  });
  const admin = createAdmin(cache, { authorize: () => true });
  const request = {
    method: 'GET',
    url: '/admin/v1/openapi.json',
    basePath: '',
    headers: { get: () => null },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
  };
  const answer = await admin.handle(request);
  await cache.close({ graceMs: 0 });
  return JSON.parse(Buffer.from(answer?.body as Uint8Array).toString());
}
