import { createProxyCache, type EndpointCheck, memoryStorage } from '@proxycache/core';
import type { Logger } from 'pino';
import { buildOptions } from './build-options.ts';
import { createServer } from './listener.ts';
import { openAccess } from './open-access.ts';
import { openAdmission } from './open-admission.ts';
import type { WorkerTask } from './worker-messages.ts';

/**
 * Does with a configuration what a start does, files included, but listens nowhere and touches no storage; then asks each
 * upstream whether it is there, is a registry and takes its credential.
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
  createServer(loaded.config, { folder: loaded.folder, logger }).release();
  const cache = createProxyCache({
    ...options,
    ...(access && { access }),
    ...(admission && { admission }),
    retention: false,
    storage: memoryStorage(),
    observer: (event) => {
      if (event.type === 'warning') write(`warning  ${event.message}`);
    },
  });
  write('ok       the configuration');
  try {
    const checks = await Promise.all(options.upstreams.map(({ key }) => cache.upstreams.check(key)));
    for (const { upstream, endpoints } of checks) for (const one of endpoints) write(lineOf(upstream, one));
    return checks.every(({ ok }) => ok);
  } finally {
    await cache.close({ graceMs: 0 });
  }
}

function lineOf(upstream: string, endpoint: EndpointCheck): string {
  const { host, durationMs } = endpoint;
  if (endpoint.ok) return `ok       ${upstream} at ${host}: a registry that lets us in (${Math.round(durationMs)} ms)`;
  return `FAILED   ${upstream} at ${host}: ${endpoint.reason}: ${endpoint.message}`;
}
