import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { type Duration, parseDuration } from '@proxycache/core';
import { z } from 'zod';

/** A value that `parse` takes; where it answers `undefined`, the problem says what was `expected`. */
export function value<T>(type: string, expected: string, parse: (input: unknown) => T | undefined) {
  const schema = z.unknown().transform((input, context): T => {
    const parsed = parse(input);
    if (parsed !== undefined) return parsed;
    context.issues.push({ code: 'custom', message: `expected ${expected}`, input });
    return z.NEVER;
  });
  return schema.meta({ type });
}

/** Says what a key means, for the documentation. */
export function about<S extends z.ZodType>(schema: S, description: string, fallback?: string): S {
  return schema.meta({ ...schema.meta(), description, fallback });
}

/** A key that may be left out; `fallback` says what holds then. */
export function optional<S extends z.ZodType>(schema: S, description: string, fallback = '-'): z.ZodExactOptional<S> {
  return about(schema, description, fallback).exactOptional();
}

/** Keys and nothing but these keys. */
export function mapping<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? 'expected keys and their values' : undefined),
  });
}

export function list<S extends z.ZodType>(item: S) {
  return z.array(item, { error: 'expected a list' }).meta({ type: `list of ${item.meta()?.['type']}` });
}

const asText = (input: unknown) => (typeof input === 'string' && input !== '' ? input : undefined);

/** A value from the environment is always text: `port: ${PORT}`. */
const asNumber = (input: unknown) => (typeof input === 'string' && /^\d+$/.test(input) ? Number(input) : input);

export const text = (type = 'text', expected = 'text that is not empty') => value(type, expected, asText);

export const flag = () =>
  value('boolean', 'true or false', (input) => {
    if (input === true || input === 'true') return true;
    return input === false || input === 'false' ? false : undefined;
  });

export const integer = (least: number, most: number) =>
  value('integer', `an integer from ${least} to ${most}`, (input) => {
    const number = asNumber(input);
    return Number.isInteger(number) && Number(number) >= least && Number(number) <= most ? Number(number) : undefined;
  });

/** A number of processes; `auto` and 0 stand for one a core. */
export const processes = () =>
  value('integer or `auto`', 'an integer from 1 to 256, or "auto" for one a core', (input) => {
    const number = input === 'auto' ? 0 : asNumber(input);
    if (number === 0) return availableParallelism();
    return Number.isInteger(number) && Number(number) > 0 && Number(number) <= 256 ? Number(number) : undefined;
  });

export const share = () =>
  value('number', 'a share from 0 to 1', (input) => {
    const number = typeof input === 'string' && /^\d+(\.\d+)?$/.test(input) ? Number(input) : input;
    return typeof number === 'number' && number >= 0 && number <= 1 ? number : undefined;
  });

const units: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

export const size = (least = 0) =>
  value('size', `a size such as 65536 or "64MiB"${least > 0 ? `, at least ${least}` : ''}`, (input) => {
    const match = typeof input === 'string' ? /^(\d+(?:\.\d+)?) ?([KMGT]iB)$/.exec(input) : undefined;
    const bytes = match ? Math.round(Number(match[1]) * (units[match[2] ?? ''] ?? 0)) : asNumber(input);
    return Number.isSafeInteger(bytes) && Number(bytes) >= least ? Number(bytes) : undefined;
  });

function asDuration(input: unknown, leastMs = 0): number | undefined {
  const duration = asNumber(input);
  if (typeof duration !== 'number' && typeof duration !== 'string') return undefined;
  try {
    const ms = parseDuration(duration as Duration);
    return Number.isFinite(ms) && ms >= leastMs ? ms : undefined;
  } catch {
    return undefined;
  }
}

const durationExample = 'a duration such as "500ms", "10s", "5m", "12h" or "7d"';

export const duration = () => value('duration', durationExample, (input) => asDuration(input));

export const durationOrUnlimited = (leastMs = 0) =>
  value(
    'duration or `unlimited`',
    `${durationExample}${leastMs > 0 ? `, at least ${leastMs} ms` : ''}, or "unlimited"`,
    (input) => (input === 'unlimited' ? Number.POSITIVE_INFINITY : asDuration(input, leastMs)),
  );

/** @param otherwise what `never` stands for */
export const durationOrNever = <const T>(otherwise: T) =>
  value<number | T>('duration or `never`', `${durationExample}, or "never"`, (input) =>
    input === 'never' ? otherwise : asDuration(input),
  );

export function choice<const Names extends readonly string[]>(...names: Names) {
  const type = names.map((name) => `\`${name}\``).join(', ');
  return value(type, `one of ${names.map((name) => JSON.stringify(name)).join(', ')}`, (input) =>
    names.find((name): name is Names[number] => name === input),
  );
}

function asUrl(input: unknown): URL | undefined {
  if (typeof input !== 'string' || !URL.canParse(input)) return undefined;
  const url = new URL(input);
  return (url.protocol === 'http:' || url.protocol === 'https:') && url.hash === '' && url.search === ''
    ? url
    : undefined;
}

/** Of a registry: credentials do not belong into it, they would be shown. */
export const registryUrl = () =>
  value('URL', 'an http(s) URL without user, query and fragment', (input) => {
    const url = asUrl(input);
    return url !== undefined && url.username === '' && url.password === '' ? String(input) : undefined;
  });

export const proxyUrl = () =>
  value('URL', 'an http(s) URL', (input) => (asUrl(input) === undefined ? undefined : String(input)));

export const origin = () =>
  value('URL', 'an http(s) URL without user, path, query and fragment', (input) => {
    const url = asUrl(input);
    return url !== undefined && `${url.protocol}//${url.host}/` === url.href ? url.origin : undefined;
  });

export const redisUrl = () =>
  value('URL', 'a URL such as "redis://host:6379/0", or "rediss:" for TLS', (input) =>
    typeof input === 'string' && /^rediss?:\/\/./.test(input) && URL.canParse(input) ? input : undefined,
  );

export const hostAndPort = () =>
  value('host:port', 'host:port, without a scheme and credentials', (input) => {
    if (typeof input !== 'string' || /[\s/@?#]/.test(input)) return undefined;
    return URL.canParse(`http://${input}/`) ? input : undefined;
  });

/** `host` or `host:port`, as a Host header or `?ns=` has it. */
export const host = () =>
  value('host', 'a host, or host:port, without scheme and path', (input) => {
    if (typeof input !== 'string' || /[\s/@?#]/.test(input)) return undefined;
    return URL.canParse(`http://${input}/`) ? input : undefined;
  });

export const addressOrBlock = () =>
  value('address or CIDR block', 'an IP address or a CIDR block such as "10.0.0.0/8"', (input) => {
    if (typeof input !== 'string') return undefined;
    const [address = '', bits, more] = input.split('/');
    const version = isIP(address);
    if (version === 0 || more !== undefined) return undefined;
    const legal = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
    return legal ? input : undefined;
  });
