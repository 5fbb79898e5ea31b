import { type Target, targetOf } from '../pull/target.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Resolution, Resolver } from '../upstream/resolver.ts';
import type { LiveUpstreams } from './live-upstreams.ts';

/** Where something is that a request is about, and the name that it was asked for by. */
export interface Located {
  target: Target;
  clientName: string;
}

/**
 * Finds what a route means now; `undefined`: nothing that is served here.
 *
 * @throws ProxyCacheError `upstream-unusable` for what is an upstream's that cannot be used, `upstreams-unread` for what may
 * be an upstream's that is not known yet
 */
export type Locate = (route: Parameters<Resolver['resolve']>[0]) => Located | undefined;

/** @param how.groups keys that are several upstreams', for others to find @param how.isRead whether all that is stored of upstreams is known */
export function createLocate(
  { upstreams, entryOf, resolve }: LiveUpstreams,
  { groups, isRead }: { groups: ReadonlySet<string>; isRead(): boolean },
): Locate {
  /** Those whose options cannot be read are known by their keys alone. */
  function refuseUnusable(key: string): void {
    if (entryOf(key)?.kind !== 'unusable') return;
    throw new ProxyCacheError('upstream-unusable', `${key} cannot be used as it is stored; the cache's host knows why`);
  }

  function refuseUnread(name: string, found: Resolution | undefined): void {
    if (isRead() || name === '' || (found && !(found.isDefault && mayBeKeyed(name)))) return;
    const message = `what is stored of upstreams cannot be read, and ${name} may be of one of them; try again shortly`;
    throw new ProxyCacheError('upstreams-unread', message);
  }

  return (route) => {
    const found = resolve(route);
    const [first] = found?.candidates ?? [];
    const isGroup = first !== undefined && groups.has(first.key);
    // An upstream that was added before there was a group of its key is not what the group's name means.
    const upstream = isGroup || !first ? undefined : upstreams.get(first.key);
    refuseUnread(route.name, upstream || isGroup ? found : undefined);
    if (isGroup) return undefined;
    if (found && first && upstream)
      return { target: targetOf(upstream, first.repository), clientName: found.clientName };
    refuseUnusable(first?.key ?? (route.name.split('/')[0] as string));
    return undefined;
  };
}

/** Whether a name's first component could be a key: an upstream of it, or one that was removed, must not be taken for another's. */
function mayBeKeyed(name: string): boolean {
  // What Docker Hub calls its own images by nobody gives an upstream as its key.
  return name.includes('/') && !name.startsWith('library/');
}
