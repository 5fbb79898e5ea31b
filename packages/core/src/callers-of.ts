import { randomBytes } from 'node:crypto';
import { type Callers, type CallersParts, createCallers } from './http/callers.ts';
import type { ProxyCacheOptions } from './options.ts';
import type { Target } from './pull/target.ts';
import { ProxyCacheError } from './runtime/errors.ts';

/** What tells the callers of this cache apart. */
export function callerKeyOf({ callerKey }: ProxyCacheOptions): string | Uint8Array {
  return callerKey ?? randomBytes(32);
}

/** Who requests speak for, at the upstreams that want to know. */
export function callersOf({ access }: ProxyCacheOptions, parts: Omit<CallersParts, 'hasUsers'>): Callers {
  return createCallers({ ...parts, hasUsers: access?.authenticate !== undefined });
}

/** Says what a host should know of the upstreams that it has asked with their callers' credentials. */
export function callerWarnings({ upstreams, defaultUpstream, callerKey }: ProxyCacheOptions): readonly string[] {
  const keys = upstreams.filter(({ credentials }) => credentials === 'caller').map(({ key }) => JSON.stringify(key));
  if (keys.length === 0) return [];
  const warnings: string[] = [];
  if (callerKey === undefined) {
    warnings.push(
      `callerKey is not set: what callers of ${keys.join(', ')} may read is asked for anew after each start and by each ` +
        'process, and its records stay behind until retention removes them',
    );
  }
  const mirrored = upstreams.find(({ key, credentials }) => key === defaultUpstream && credentials !== 'caller');
  const hostless = upstreams.filter(({ credentials, hosts = [] }) => credentials === 'caller' && hosts.length === 0);
  if (mirrored && hostless.length > 0) {
    const named = hostless.map(({ key }) => JSON.stringify(key)).join(', ');
    warnings.push(
      `docker and podman send no login to ${named} here: they are asked for one at /v2/ alone, which defaultUpstream ` +
        `${JSON.stringify(mirrored.key)} leaves open; give ${named} a name of this server in its hosts, and pull by that`,
    );
  }
  return warnings;
}

/** @throws ProxyCacheError `unauthenticated` for what nobody but a caller may ask for */
export function refuseWithoutCaller({ upstream }: Target): void {
  if (!upstream.callerOf) return;
  const message = `${upstream.key} is asked with its callers' credentials, and here is none: send a request to the cache`;
  throw new ProxyCacheError('unauthenticated', message);
}
