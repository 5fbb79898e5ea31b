import { defaults, upstreamSettings } from './options.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import { type CheckParts, checkEndpoints, type UpstreamCheck } from './upstream/check.ts';
import { checkUpstream } from './upstream/check-upstream.ts';
import type { UpstreamOptions, UpstreamSettings } from './upstream/upstream-options.ts';

/** How an upstream is checked. */
export interface CheckOptions {
  /** Ends the check. */
  signal?: AbortSignal;
}

/** Checks an upstream, by its key or by the options of one that may be added. */
export type CheckUpstream = (upstream: string | UpstreamOptions, how?: CheckOptions) => Promise<UpstreamCheck>;

/** @param parts.settingsOf what holds of an upstream now; `undefined`: there is none of that key */
export function createUpstreamChecks({
  settingsOf,
  isClosed,
  ...parts
}: CheckParts & { settingsOf(key: string): UpstreamSettings | undefined; isClosed(): boolean }): CheckUpstream {
  function settingsFor(upstream: string | UpstreamOptions): UpstreamSettings {
    if (typeof upstream !== 'string') {
      checkUpstream('upstream', upstream, defaults.upstream);
      return upstreamSettings(upstream);
    }
    const settings = settingsOf(upstream);
    if (!settings) throw new ProxyCacheError('name-unknown', `${JSON.stringify(upstream)} is no upstream's key`);
    return settings;
  }

  return async (upstream, { signal = new AbortController().signal } = {}) => {
    if (isClosed()) throw new ProxyCacheError('closed', 'the cache is closed');
    return await checkEndpoints(settingsFor(upstream), { ...parts, signal });
  };
}
