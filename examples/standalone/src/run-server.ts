import { type Coordinator, createProxyCache, isProxyCacheError } from '@proxycache/core';
import { buildOptions } from './build-options.ts';
import { endProcess } from './end-process.ts';
import { createLog, type Log, logEvents } from './log.ts';
import { openAccess } from './open-access.ts';
import { openAdmission } from './open-admission.ts';
import { openStorage } from './open-storage.ts';
import { noteUser } from './request-log.ts';
import { serveAdmin } from './serve-admin.ts';
import { serveMetrics } from './serve-metrics.ts';
import { type RunningServer, startServer } from './server.ts';
import type { WorkerTask } from './worker-messages.ts';

/** A log for this process, which also gets what ends the process unexpectedly. */
export function openLog(level: string, fields?: Readonly<Record<string, unknown>>): Log {
  const log = createLog(level, fields);
  process.on('uncaughtException', (err) => {
    log.logger.fatal({ err }, 'this should not happen; the server ends');
    void endProcess(1, log);
  });
  return log;
}

/**
 * Makes the cache and serves it.
 *
 * @param parts.coordinator of several workers. Default: this process is alone
 * @throws ProxyCacheError for a configuration that cannot work
 */
export async function runServer(
  { loaded, upstreams }: WorkerTask,
  { logger, coordinator }: { logger: Log['logger']; coordinator?: Coordinator },
): Promise<RunningServer> {
  const options = buildOptions(loaded, upstreams);
  const access = await openAccess(loaded, logger);
  const admission = await openAdmission(loaded);
  const { storage, close } = await openStorage({ loaded, logger, ...(coordinator && { coordinator }) });
  const policies = { ...(access && { access: noteUser(access) }), ...(admission && { admission }) };
  const cache = createProxyCache({ ...options, ...policies, storage, observer: logEvents(logger) });
  const { metrics: at, admin: adminAt } = loaded.config;
  const metrics = at && (await serveMetrics(cache, at, logger));
  const admin = adminAt && (await serveAdmin(cache, adminAt, { folder: loaded.folder, logger }));
  const server = await startServer({ cache, ...loaded, logger });
  return {
    url: server.url,
    async stop() {
      await Promise.all([admin?.stop(), server.stop()]);
      await metrics?.stop();
      await close();
    },
  };
}

/** What a person is told of a failure. A mistake in the set-up has a message for them; its stack would only hide it. */
export function failureText(error: unknown): string {
  if (isProxyCacheError(error)) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
