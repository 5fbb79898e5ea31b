import type { FreshnessRules } from '../freshness/rules.ts';
import { type Duration, parseDuration } from '../runtime/duration.ts';
import type { UpstreamMode } from '../upstream/mode.ts';
import type { UpstreamSettings } from '../upstream/upstream-options.ts';

/** Long enough to spare an upstream a client's retries, short enough for a mended credential to show. */
const deniedForMs = 5_000;

/** Older is nothing; a finite time, from which others can be taken: `Infinity - Infinity` is no number. */
const endlessMs = 1_000 * 365 * 86_400_000;

/**
 * The rules of each mode. `linkValidFor` is who may read what, and holds in all of them: of a caller no answer is older,
 * unless that was said to do (`serveUnproven`).
 */
export function rulesOfModes(settings: UpstreamSettings): Readonly<Record<UpstreamMode, FreshnessRules>> {
  const normal: FreshnessRules = {
    ...timesOf(settings),
    absentForMs: parseDuration(settings.absentFor),
    deniedForMs,
    onAbsent: settings.onAbsent,
    onDenied: settings.onDenied,
    deniedMayMeanAbsent: settings.deniedMayMeanAbsent,
  };
  const isBound = settings.credentials === 'caller' && !settings.serveUnproven;
  const mostMs = isBound ? Math.min(parseDuration(settings.linkValidFor), endlessMs) : endlessMs;
  return {
    normal,
    // Nobody can say whether it is still right, however lately that was said.
    offline: { ...normal, freshForMs: 0, staleWhileRevalidateForMs: 0, staleIfErrorForMs: mostMs },
    // All that may be served is fresh.
    'local-first': { ...normal, freshForMs: mostMs, staleWhileRevalidateForMs: 0, staleIfErrorForMs: 0 },
  };
}

/** Of a caller's tags and lists no answer is older than its word that he may have them, unless that was said to do. */
function timesOf(
  settings: UpstreamSettings,
): Pick<FreshnessRules, 'freshForMs' | 'staleIfErrorForMs' | 'staleWhileRevalidateForMs'> {
  const msOf = (duration: Duration) => Math.min(parseDuration(duration), endlessMs);
  const bound = settings.credentials === 'caller' ? msOf(settings.linkValidFor) : endlessMs;
  const freshForMs = Math.min(msOf(settings.freshFor), bound);
  const within = (duration: Duration) => Math.min(msOf(duration), bound - freshForMs);
  const { staleIfErrorFor, staleWhileRevalidateFor, serveUnproven } = settings;
  return {
    freshForMs,
    staleIfErrorForMs: serveUnproven ? msOf(staleIfErrorFor) : within(staleIfErrorFor),
    staleWhileRevalidateForMs: within(staleWhileRevalidateFor),
  };
}
