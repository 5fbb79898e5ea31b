import { ProxyCacheError } from '@proxycache/core';
import type { JsonType, Schema } from './schema.ts';

// What is received is never shown: where something else was expected a credential may stand.

/**
 * Whether a value from a request is what a schema says, defaults not filled in.
 *
 * @throws ProxyCacheError `invalid-options`, with the path and what was expected
 */
export function checkValue(schema: Schema, value: unknown, path: string): void {
  if (schema.anyOf) checkAny(schema.anyOf, value, path);
  const types = typesOf(schema);
  const type = types.find((one) => isOf(one, value));
  if (types.length > 0 && type === undefined) throw wrong(path, expectedOf(schema), value);
  if (schema.enum && !schema.enum.includes(value as string)) throw wrong(path, expectedOf(schema), value);
  if (typeof value === 'string') checkText(schema, value, path);
  if (typeof value === 'number') checkNumber(schema, value, path);
  if (Array.isArray(value)) checkList(schema, value, path);
  else if (typeof value === 'object' && value !== null) checkObject(schema, value as Record<string, unknown>, path);
}

function checkAny(schemas: readonly Schema[], value: unknown, path: string): void {
  const failures: { schema: Schema; error: unknown }[] = [];
  for (const schema of schemas) {
    try {
      checkValue(schema, value, path);
      return;
    } catch (error) {
      if (isMeant(schema, value)) failures.push({ schema, error });
    }
  }
  const meant = likeliest(failures, value);
  if (meant) throw meant.error;
  const kinds = isOf('object', value) ? kindsOf(schemas) : undefined;
  if (kinds) throw bound(`${path}.${kinds.name}`, kinds.words.map((word) => JSON.stringify(word)).join(' or '));
  throw wrong(path, schemas.map(expectedOf).join(', or '), value);
}

/** Of its type, and the same in every field that has one word to choose from, such as `kind`. */
function isMeant(schema: Schema, value: unknown): boolean {
  if (!typesOf(schema).some((type) => isOf(type, value))) return false;
  const given = value as Record<string, unknown>;
  return fixedOf(schema).every(([name, word]) => Object.hasOwn(given, name) && given[name] === word);
}

/** The only one that can have been meant, or that knows more of the fields that are given than any other. */
function likeliest<T extends { schema: Schema }>(failures: readonly T[], value: unknown): T | undefined {
  if (failures.length <= 1 || !isOf('object', value)) return failures.length === 1 ? failures[0] : undefined;
  const names = Object.keys(value as object);
  const known = ({ schema }: T) => names.filter((name) => Object.hasOwn(schema.properties ?? {}, name)).length;
  const [first, second] = [...failures].sort((a, b) => known(b) - known(a));
  return first && second && known(first) > known(second) ? first : undefined;
}

/** The field that says which of some kinds of object it is, and its words; `undefined` where none of them all does. */
function kindsOf(schemas: readonly Schema[]): { name: string; words: readonly unknown[] } | undefined {
  const fields = schemas.map((schema) => fixedOf(schema)[0]);
  const name = fields[0]?.[0];
  if (name === undefined || !fields.every((field) => field?.[0] === name)) return undefined;
  return { name, words: fields.map((field) => field?.[1]) };
}

/** The fields of an object that have one word to choose from. */
function fixedOf({ properties = {} }: Schema): [name: string, word: unknown][] {
  return Object.entries(properties).flatMap(([name, { enum: words }]) =>
    words?.length === 1 ? [[name, words[0]] as [string, unknown]] : [],
  );
}

function checkText({ minLength, maxLength, pattern }: Schema, value: string, path: string): void {
  if (minLength !== undefined && value.length < minLength) throw bound(path, `${minLength} characters or more`);
  if (maxLength !== undefined && value.length > maxLength) throw bound(path, `${maxLength} characters at most`);
  if (pattern !== undefined && !new RegExp(pattern, 'u').test(value)) throw bound(path, `text that matches ${pattern}`);
}

function checkNumber({ minimum, maximum }: Schema, value: number, path: string): void {
  if (minimum !== undefined && value < minimum) throw bound(path, `${minimum} or more`);
  if (maximum !== undefined && value > maximum) throw bound(path, `${maximum} at most`);
}

function checkList({ items, minItems, maxItems }: Schema, value: readonly unknown[], path: string): void {
  if (minItems !== undefined && value.length < minItems) throw bound(path, `${minItems} entries or more`);
  if (maxItems !== undefined && value.length > maxItems) throw bound(path, `${maxItems} entries at most`);
  if (items) for (const [index, one] of value.entries()) checkValue(items, one, `${path}[${index}]`);
}

function checkObject(schema: Schema, value: Record<string, unknown>, path: string): void {
  const { properties = {}, required = [], additionalProperties, maxProperties } = schema;
  const names = Object.keys(value);
  if (maxProperties !== undefined && names.length > maxProperties) throw bound(path, `${maxProperties} fields at most`);
  for (const name of names) {
    // Own names only: `constructor` is no field of anything, and `__proto__` is one of JSON text as any other.
    const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (known === false || (known && isPrototypal(name))) throw unknownField(path, name, Object.keys(properties));
    if (known) checkValue(known, value[name], `${path}.${name}`);
  }
  const missing = required.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) throw bound(`${path}.${missing}`, 'to be given');
}

const isPrototypal = (name: string) => name === '__proto__' || name === 'constructor' || name === 'prototype';

function unknownField(path: string, name: string, known: readonly string[]): ProxyCacheError {
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
  const instead = known.length > 0 ? `; it has ${known.join(', ')}` : '';
  return new ProxyCacheError('invalid-options', `${path}: there is no field ${shown}${instead}`);
}

function bound(path: string, expected: string): ProxyCacheError {
  return new ProxyCacheError('invalid-options', `${path}: expected ${expected}`);
}

function wrong(path: string, expected: string, value: unknown): ProxyCacheError {
  return new ProxyCacheError('invalid-options', `${path}: expected ${expected}, received ${kindOf(value)}`);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  return typeof value === 'string' ? 'text' : typeof value === 'boolean' ? 'true or false' : 'a number';
}

const words: Readonly<Record<JsonType, string>> = {
  object: 'an object',
  array: 'a list',
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  null: 'null',
};

function expectedOf(schema: Schema): string {
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(' or ');
  if (schema.anyOf) return schema.anyOf.map(expectedOf).join(', or ');
  const fixed = fixedOf(schema);
  if (fixed.length > 0)
    return `an object with ${fixed.map(([name, word]) => `${name} ${JSON.stringify(word)}`).join(', ')}`;
  if (schema.type === 'object' && schema.required) return `an object with ${schema.required.join(', ')}`;
  return typesOf(schema)
    .map((type) => words[type])
    .join(' or ');
}

function typesOf({ type = [] }: Schema): readonly JsonType[] {
  return typeof type === 'string' ? [type] : type;
}

function isOf(type: JsonType, value: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'integer':
      return Number.isSafeInteger(value);
    default:
      return typeof value === type;
  }
}
