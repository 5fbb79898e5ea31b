import { ProxyCacheError, type UpstreamOptions } from '@proxycache/core';
import { isLoopback } from './config-admin.ts';
import type { Config } from './config-schema.ts';

/**
 * Refuses to let a network read with our credentials unless that is said to be wanted: whoever reaches the server can
 * pull whatever they open.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function checkExposure(config: Config, upstreams: readonly UpstreamOptions[]): void {
  const { host } = config.listen;
  // Rules say who may, and nobody else may.
  const asksWho = config.access?.anonymous === false || config.access?.rules !== undefined;
  if (config.allowAnonymous || asksWho || isLoopback(host)) return;
  const open = upstreams.filter(hasCredential).map((upstream) => JSON.stringify(upstream.key));
  // Both bring upstreams that no file lists, with credentials of their own.
  if (config.admin || config.persistUpstreams) open.push('upstreams that are added at run time');
  if (open.length === 0) return;
  throw new ProxyCacheError(
    'invalid-options',
    `listen.host: expected a loopback address, received ${JSON.stringify(host)}: whoever reaches it could read with ` +
      `the credentials of ${open.join(', ')}; say in access who may, or set allowAnonymous: true if that is meant`,
  );
}

const hasCredential = (upstream: UpstreamOptions) =>
  [upstream, ...(upstream.endpoints ?? [])].some((endpoint) => typeof endpoint === 'object' && isSomebody(endpoint));

const isSomebody = ({ auth, tls }: Pick<UpstreamOptions, 'auth' | 'tls'>) =>
  (auth !== undefined && auth !== 'anonymous') || tls?.cert !== undefined;
