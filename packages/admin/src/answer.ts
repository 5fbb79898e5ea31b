import { type Clock, type HttpRequest, ProxyCacheError } from '@proxycache/core';
import type { AdminSettings } from './admin-options.ts';
import { authorized } from './authorize.ts';
import { checkValue } from './check-value.ts';
import { isJson, readJson } from './json-body.ts';
import { type Answer, isWrite, type Operation } from './operation.ts';
import { problem } from './problem.ts';
import { parseQuery } from './query-parameters.ts';
import { createRoutes, decodedParts, type Route } from './routes.ts';
import { whyCrossSite } from './same-origin.ts';
import { readUnlimited } from './unlimited.ts';
import { problemAnswer } from './write-answer.ts';

/** Requests that are answered at once at most, of those that only read and of those that write each: the latter hold bodies. */
const mostRequests = 64;

type Asked = { url: string; at: string };

/**
 * Answers requests by the operations, each as its schemas say. Nothing is told, not even that there is no such path, to
 * those who may not ask.
 *
 * @throws ProxyCacheError, UpstreamError for what goes wrong
 */
export function createAnswer(
  operations: readonly Operation[],
  settings: AdminSettings & { isClosed(): boolean },
): (request: HttpRequest, asked: Asked) => Promise<Answer> {
  const routeOf = createRoutes(operations);
  const running = { reads: 0, writes: 0 };

  async function answer(request: HttpRequest, { url, at }: Asked): Promise<Answer> {
    expectOpen(settings);
    const [path = '', query = ''] = splitOnce(url, '?');
    const versioned = /^\/v1(\/.*)$/.exec(path)?.[1];
    const found = versioned === undefined ? undefined : routeOf(versioned);
    const { method } = request;
    const operation = found?.operations.get(method === 'HEAD' ? 'GET' : method);
    const write = isWrite(method);
    const question = { operation: operation?.id, method, path: versioned ?? path, write, request };
    await authorized(settings.authorize, question, settings);
    const route = found && { ...found, path: decodedParts(found.path) };
    if (!route) return noSuchPath(at);
    if (!operation) return otherMethod(method, route);
    const refusal = write ? refused(request, settings) : undefined;
    if (refusal) return refusal;
    const call = { path: route.path, query: parseQuery(operation, query), at, request };
    const kind = write ? 'writes' : 'reads';
    // Only those who may ask are counted: nobody else can use them up.
    if (running[kind] >= mostRequests) {
      throw new ProxyCacheError('too-many-requests', `${mostRequests} requests are being answered already`);
    }
    running[kind]++;
    try {
      const body = await bodyOf(operation, request, settings.clock);
      // It may have been closed while the body came: nothing begins after that.
      expectOpen(settings);
      return await operation.run({ ...call, body });
    } finally {
      running[kind]--;
    }
  }

  return answer;
}

function expectOpen({ isClosed }: { isClosed(): boolean }): void {
  if (isClosed()) throw new ProxyCacheError('closed', 'the operations API is closed');
}

/** Why a write is not carried out, whoever asks. */
function refused(request: HttpRequest, { publicUrl }: AdminSettings): Answer | undefined {
  const crossSite = whyCrossSite(request, publicUrl);
  if (crossSite !== undefined) {
    return problemAnswer(problem(403, 'denied', `pages of other sites may not do this: ${crossSite}`));
  }
  // A form or an image of any page can send other types; for this one a browser asks first (CORS), and gets no leave.
  if (isJson(request.headers.get('content-type'))) return undefined;
  const detail = 'writes need Content-Type: application/json, those without a body too';
  return problemAnswer(problem(415, 'unsupported', detail), { accept: 'application/json' });
}

async function bodyOf(operation: Operation, request: HttpRequest, clock: Clock): Promise<unknown> {
  if (!isWrite(operation.method)) return undefined;
  const body = await readJson(request, clock);
  if (operation.body) checkValue(operation.body, body ?? null, 'body');
  else if (body !== undefined) throw new ProxyCacheError('invalid-options', 'body: expected none');
  return operation.body && readUnlimited(operation.body, body);
}

function noSuchPath(at: string): Answer {
  return problemAnswer(problem(404, 'unsupported', `there is no such path; ${at}/openapi.json lists those there are`));
}

function otherMethod(method: string, { operations }: Route): Answer {
  const allow = [...operations.keys()].flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one]));
  const headers = { allow: [...allow, 'OPTIONS'].join(', ') };
  // No header of CORS: no page of another site may write here, whatever it asks before.
  if (method === 'OPTIONS') return { status: 204, headers };
  return problemAnswer(problem(405, 'unsupported', `this path knows ${headers.allow}`), headers);
}

function splitOnce(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}
