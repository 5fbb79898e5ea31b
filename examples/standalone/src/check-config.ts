import { createProxyCache, type EndpointCheck, localCoordinator, memoryStorage } from '@proxycache/core';
import type { Logger } from 'pino';
import { buildOptions } from './build-options.ts';
import { createServer } from './listener.ts';
import { openAccess } from './open-access.ts';
import { openAdmission } from './open-admission.ts';
import { checkStorage } from './open-storage.ts';
import { createAdminServer } from './serve-admin.ts';
import type { WorkerTask } from './worker-messages.ts';

/**
 * Does with a configuration what a start does, files included, but listens nowhere and touches no storage; then asks each
 * upstream that is not offline whether it is there, is a registry and takes its credential.
 *
 * @param told.write gets a line for each thing that was looked at
 * @returns whether all of it does
 * @throws ProxyCacheError `invalid-options` for a configuration that no server would start with
 */
export async function checkConfig(
  { loaded, upstreams }: WorkerTask,
  { logger, write }: { logger: Logger; write(line: string): void },
): Promise<boolean> {
  const options = buildOptions(loaded, upstreams);
  const [access, admission] = [await openAccess(loaded, logger), await openAdmission(loaded)];
  const parts = { folder: loaded.folder, logger };
  createServer(loaded.config, parts).release();
  await checkStorage(loaded, logger);
  const cache = createProxyCache({
    ...options,
    ...(access && { access }),
    ...(admission && { admission }),
    // `peers` wants a coordinator, as Redis is one.
    storage: { ...memoryStorage(), coordinator: localCoordinator() },
    observer: (event) => {
      if (event.type === 'warning') write(`warning  ${event.message}`);
    },
  });
  try {
    const { admin } = loaded.config;
    if (admin) await createAdminServer(cache, admin, parts).end();
    write('ok       the configuration');
    const checks = await Promise.all(options.upstreams.map(({ key }) => cache.upstreams.check(key)));
    const found = checks.flatMap(({ upstream, endpoints }) => endpoints.map((one) => ({ upstream, one })));
    for (const { upstream, one } of found) write(lineOf(upstream, one));
    return found.every(({ one }) => one.ok || isSkipped(one));
  } finally {
    await cache.close({ graceMs: 0 });
  }
}

/** One that is to be asked nothing is not asked here either, and nothing is wrong with that. */
const isSkipped = (endpoint: EndpointCheck) => !endpoint.ok && endpoint.reason === 'offline';

function lineOf(upstream: string, endpoint: EndpointCheck): string {
  const { host, durationMs } = endpoint;
  if (endpoint.ok) return `ok       ${upstream} at ${host}: a registry that lets us in (${Math.round(durationMs)} ms)`;
  if (isSkipped(endpoint)) return `skipped  ${upstream} at ${host}: it is set to offline, and asked nothing`;
  return `FAILED   ${upstream} at ${host}: ${endpoint.reason}: ${endpoint.message}`;
}
