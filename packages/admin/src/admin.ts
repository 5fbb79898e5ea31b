import type { Handle, HttpRequest, HttpResponse, ProxyCache } from '@proxycache/core';
import { type AdminOptions, adminSettings } from './admin-options.ts';
import { createAnswer } from './answer.ts';
import { contentsOperations } from './contents-operations.ts';
import { groupOperations } from './group-operations.ts';
import { jobOperations } from './job-operations.ts';
import { createJobs } from './jobs.ts';
import { openApiDocument } from './openapi.ts';
import type { Operation } from './operation.ts';
import { purgeOperations } from './purge-operations.ts';
import { serverOperations } from './server-operations.ts';
import { createStatistics } from './statistics.ts';
import { statisticsOperations } from './statistics-operations.ts';
import { upstreamOperations } from './upstream-operations.ts';
import { failureResponse, writeAnswer } from './write-answer.ts';

/** The operations API of a cache. The adapters mount it as they mount a cache. */
export interface Admin {
  /** Answers a request; `undefined`: the path is not below `basePath`, the host goes on. */
  handle: Handle;
  /** Cancels the jobs that run and waits for their end; later requests get 503. The cache goes on. Never rejects. */
  close(): Promise<void>;
}

/**
 * Makes the operations API of a cache: JSON over HTTP, below `basePath` and `/v1`, described by OpenAPI at
 * `/v1/openapi.json`.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function createAdmin(cache: ProxyCache, options: AdminOptions): Admin {
  const settings = adminSettings(options);
  const { basePath, clock, onError, maxJobs, metrics } = settings;
  const jobs = createJobs({ clock, maxJobs, onError });
  const statistics = createStatistics(cache, clock);
  const operations: readonly Operation[] = [
    ...upstreamOperations(cache, settings),
    ...contentsOperations(cache),
    ...groupOperations(cache),
    ...purgeOperations(cache),
    ...jobOperations(cache, jobs),
    ...statisticsOperations(statistics),
    ...serverOperations({ metrics, document: (at) => openApiDocument(operations, at) }),
  ];
  let closing: Promise<void> | undefined;
  const answer = createAnswer(operations, { ...settings, isClosed: () => closing !== undefined });

  async function handle(request: HttpRequest): Promise<HttpResponse | undefined> {
    const url = below(request.url, basePath);
    if (url === undefined) return undefined;
    const at = `${request.basePath}${basePath}/v1`;
    try {
      return writeAnswer(request, await answer(request, { url, at }));
    } catch (error) {
      return failureResponse(request, error, settings);
    }
  }

  return {
    handle,
    close() {
      statistics.close();
      closing ??= jobs.close();
      return closing;
    },
  };
}

/** The URL below a path, starting with a slash; `undefined`: it is not below it. */
function below(url: string, basePath: string): string | undefined {
  if (basePath === '') return url;
  if (!url.startsWith(basePath)) return undefined;
  const rest = url.slice(basePath.length);
  if (rest.startsWith('/')) return rest;
  return rest === '' || rest.startsWith('?') ? `/${rest}` : undefined;
}
