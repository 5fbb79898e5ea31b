import { createHash } from 'node:crypto';
import type { Identity } from './asker.ts';

/**
 * An identity as one text, the same for the same name, attributes and narrowing, and for no others. `undefined` where that
 * cannot be told: what is in it is more than plain data.
 */
export function identityKey(identity: Identity | undefined): string | undefined {
  if (identity === undefined) return '-';
  const { name, repositories, attributes } = identity;
  const text = canonical([name, repositories, attributes], new Set());
  return text && createHash('sha256').update(text).digest('base64url');
}

function canonical(value: unknown, around: Set<object>): string | undefined {
  if (value === undefined) return 'undefined';
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value !== 'object' || around.has(value)) return undefined;
  const entries = entriesOf(value);
  if (!entries) return undefined;
  around.add(value);
  const parts: string[] = [];
  for (const [key, entry] of entries) {
    const text = canonical(entry, around);
    if (text === undefined) return undefined;
    parts.push(`${JSON.stringify(key)}:${text}`);
  }
  around.delete(value);
  return Array.isArray(value) ? `[${parts.join(',')}]` : `{${parts.join(',')}}`;
}

/** What plain data holds, in an order of its own; `undefined` for what may hold more than can be seen. */
function entriesOf(value: object): [string, unknown][] | undefined {
  if (Array.isArray(value)) return value.map((entry, index) => [String(index), entry]);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return undefined;
  if (Object.getOwnPropertySymbols(value).length > 0) return undefined;
  return Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
}
