import { type Target, targetOf } from '../pull/target.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Resolver } from '../upstream/resolver.ts';
import type { LiveUpstreams } from './live-upstreams.ts';

/** Where something is that a request is about, and the name that it was asked for by. */
export interface Located {
  target: Target;
  clientName: string;
}

/**
 * Finds what a route means now; `undefined`: nothing that is served here.
 *
 * @throws ProxyCacheError `upstream-unusable` for what is an upstream's that cannot be used
 */
export type Locate = (route: Parameters<Resolver['resolve']>[0]) => Located | undefined;

export function createLocate({ upstreams, entryOf, resolve }: LiveUpstreams): Locate {
  /** Those whose options cannot be read are known by their keys alone. */
  function refuseUnusable(key: string): void {
    if (entryOf(key)?.kind !== 'unusable') return;
    throw new ProxyCacheError('upstream-unusable', `${key} cannot be used as it is stored; the cache's host knows why`);
  }

  return (route) => {
    const found = resolve(route);
    const [first] = found?.candidates ?? [];
    const upstream = first && upstreams.get(first.key);
    if (found && upstream) return { target: targetOf(upstream, first.repository), clientName: found.clientName };
    refuseUnusable(first?.key ?? (route.name.split('/')[0] as string));
    return undefined;
  };
}
