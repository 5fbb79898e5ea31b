import { duration, type Schema } from './schema.ts';

/** What a duration without an end is in JSON, which knows no infinity and would write `null`. */
const word = 'unlimited';

/** A value that a schema lets through, with its durations that are `unlimited` as the cache takes them. */
export function readUnlimited(schema: Schema, value: unknown): unknown {
  if (schema === duration) return value === word ? Number.POSITIVE_INFINITY : value;
  const { anyOf = [], items, properties = {} } = schema;
  const read = anyOf.reduce((before, one) => readUnlimited(one, before), value);
  if (Array.isArray(read)) return items ? read.map((one) => readUnlimited(items, one)) : read;
  if (typeof read !== 'object' || read === null) return read;
  const ofField = (name: string) => (Object.hasOwn(properties, name) ? properties[name] : undefined);
  return Object.fromEntries(Object.entries(read).map(([name, one]) => [name, readUnlimited(ofField(name) ?? {}, one)]));
}

/** For `JSON.stringify`. */
export function writeUnlimited(_: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? word : value;
}
