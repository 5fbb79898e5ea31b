import { ProxyCacheError } from './errors.ts';

/** A length of time: a number of ms, or a number with a unit, such as `'500ms'`, `'10s'`, `'5m'`, `'12h'`, `'7d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * A duration in ms. `Infinity` stands for "no limit".
 *
 * @throws ProxyCacheError `invalid-options` for anything but a non-negative duration
 */
export function parseDuration(duration: Duration): number {
  const match = typeof duration === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration) : undefined;
  const ms = match ? Number(match[1]) * (unitMs[match[2] ?? ''] ?? Number.NaN) : duration;
  if (typeof ms !== 'number' || Number.isNaN(ms) || ms < 0) {
    throw new ProxyCacheError(
      'invalid-options',
      `expected a duration such as 500, "10s" or "7d", received ${JSON.stringify(duration)}`,
    );
  }
  return ms;
}

/** A duration as it is written: by the longest unit that it is a whole number of. */
export function showDuration(ms: number): string {
  const [unit, length] = Object.entries(unitMs).findLast(([, length]) => ms > 0 && ms % length === 0) ?? ['ms', 1];
  return `${ms / length}${unit}`;
}
