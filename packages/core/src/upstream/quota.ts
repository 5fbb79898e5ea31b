import type { Clock } from '../runtime/clock.ts';
import { createRecent } from '../runtime/recent.ts';
import { headerOf, type ResponseHeaders } from './exchange.ts';

/** What an upstream said is left of its rate limit. */
export interface QuotaReading {
  /** Pulls within the window. */
  limit: number;
  remaining: number;
  /** Length of the window, in ms. */
  windowMs: number;
}

/** What is known of an upstream's quota, by the credential scope it is counted for. */
export interface Quota {
  /** Notes what an answer says of it: registries say so on HEAD too, which costs nothing. */
  note(scope: string, headers: ResponseHeaders): void;
  /** The latest reading, until its window is over. */
  reading(scope: string): QuotaReading | undefined;
  /** Whether less than the reserve is left. */
  isLow(scope: string): boolean;
}

/** What {@link createQuota} works with. */
export interface QuotaParts {
  clock: Clock;
  /** The share of the limit below which what is left is kept for images that are not stored. */
  reserve: number;
  /** Told when a scope falls below the reserve, and when it is above it again. */
  changed(state: QuotaReading & { low: boolean }): void;
}

// Callers with credentials of their own are many.
const mostScopes = 1_000;
// Docker Hub always says its window (6 h). One that is not told is taken for short: a wrong guess ends soon.
const untoldWindowMs = 15 * 60_000;
const longestWindowMs = 24 * 60 * 60_000;

/** Makes the memory of one upstream's quota, by its `ratelimit-limit` and `ratelimit-remaining` headers (Docker Hub). */
export function createQuota({ clock, reserve, changed }: QuotaParts): Quota {
  const readings = createRecent<string, QuotaReading & { at: number }>(mostScopes);

  function reading(scope: string): QuotaReading | undefined {
    const known = readings.get(scope);
    if (!known) return undefined;
    const { at, ...said } = known;
    if (clock.monotonic() - at < said.windowMs) return said;
    readings.delete(scope);
    if (isBelow(said, reserve)) changed({ ...said, remaining: said.limit, low: false });
    return undefined;
  }

  function isLow(scope: string): boolean {
    const known = reading(scope);
    return known !== undefined && isBelow(known, reserve);
  }

  return {
    note(scope, headers) {
      const said = parseQuota(headers);
      if (!said) return;
      const wasLow = isLow(scope);
      readings.set(scope, { ...said, at: clock.monotonic() });
      const low = isBelow(said, reserve);
      if (low !== wasLow) changed({ ...said, low });
    },
    reading,
    isLow,
  };
}

function isBelow({ limit, remaining }: QuotaReading, reserve: number): boolean {
  return remaining < limit * reserve;
}

/** `100;w=21600`: a number, and the seconds of its window. A limit of 0 tells nothing: it would be a refusal of all. */
function parseQuota(headers: ResponseHeaders): QuotaReading | undefined {
  const limit = parsePart(headerOf(headers, 'ratelimit-limit'));
  const remaining = parsePart(headerOf(headers, 'ratelimit-remaining'));
  if (!limit || !remaining || limit.count === 0) return undefined;
  const told = remaining.windowMs ?? limit.windowMs ?? untoldWindowMs;
  return { limit: limit.count, remaining: remaining.count, windowMs: Math.min(told, longestWindowMs) };
}

function parsePart(value: string | undefined): { count: number; windowMs?: number } | undefined {
  const match = /^ *(\d{1,9}) *(?:; *w=(\d{1,9}) *)?$/.exec(value ?? '');
  if (!match) return undefined;
  return { count: Number(match[1]), ...(match[2] !== undefined && { windowMs: Number(match[2]) * 1_000 }) };
}
