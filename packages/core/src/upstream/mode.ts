import { UpstreamError } from './upstream-error.ts';

/**
 * How an upstream is used. `'normal'`: by the rules of freshness. `'offline'`: it gets no request of any kind, and what is
 * stored is served as it is. `'local-first'`: what is stored is served without asking, and only what is not is asked for.
 */
export type UpstreamMode = 'normal' | 'offline' | 'local-first';

/** Every {@link UpstreamMode}. */
export const upstreamModes: readonly UpstreamMode[] = ['normal', 'offline', 'local-first'];

/** What whoever asks an upstream that is offline is refused with. @param subject what would have been asked for */
export function offlineError(key: string, subject: string): UpstreamError {
  const message = `${key} is set to offline: ${subject} is not stored here, and was not asked for`;
  return new UpstreamError('offline', message, { upstream: key });
}
