import type { UpstreamEndpoint, UpstreamSettings } from './upstream-options.ts';

/** The settings of each endpoint: what says who we are and how to get there is its own, the rest is the upstream's. */
export function endpointSettings(settings: UpstreamSettings): readonly UpstreamSettings[] {
  const { tls: _tls, proxy: _proxy, endpoints, ...shared } = settings;
  const others = endpoints.map((given): UpstreamSettings => {
    const { tls, proxy, ...own }: UpstreamEndpoint = typeof given === 'string' ? { url: given } : given;
    return {
      ...shared,
      // Its credential helper is asked for the endpoint's own host.
      hosts: [],
      endpoints: [],
      url: own.url,
      auth: own.auth ?? 'anonymous',
      tokenHosts: own.tokenHosts ?? [],
      allowPrivate: own.allowPrivate ?? shared.allowPrivate,
      ...(tls && { tls }),
      ...(proxy !== undefined && { proxy }),
    };
  });
  return [settings, ...others];
}
