import type { ProxyCacheError } from '../runtime/errors.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';

/** What is known of an upstream's key. `revision`: how often it was changed while a cache ran; 0 of what the options say. */
export type Entry =
  | { kind: 'upstream'; revision: number; options: UpstreamOptions }
  /** Its key stays reserved: it must never mean a repository of the default upstream. */
  | { kind: 'removed'; revision: number }
  | UnusableEntry;

/** One that something is written of that cannot be used. */
export interface UnusableEntry {
  kind: 'unusable';
  revision: number;
  /** What of its options can be read. */
  options?: UpstreamOptions;
  /** The options that are there and cannot be read. */
  lost: readonly string[];
  error: ProxyCacheError;
}

/** How much may be stored of an upstream. */
export function maxBytesOf(entry: Entry): number | undefined {
  return entry.kind === 'upstream' ? entry.options.maxBytes : undefined;
}

/** The same options, of which what is `undefined` or `null` is left out, and nothing plain is shared with whoever gave them. */
export function ownOptions<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([name, value]) => [name, ownValue(value)]),
  ) as T;
}

function ownValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ownValue);
  return isPlain(value) ? ownOptions(value) : value;
}

/** What is of a class has more than can be copied. */
function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
