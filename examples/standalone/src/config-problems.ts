import type { z } from 'zod';
import { listConfigKeys } from './config-keys.ts';
import { configSchema } from './config-schema.ts';
import { nearestName } from './nearest-name.ts';

type Path = readonly PropertyKey[];

/** Keys whose values never leave this process: messages end in logs. */
const secret =
  /(password|token|sessionToken|secretAccessKey|\.secret|privateKey|callerKey|encryptionKey|tls\.key|\.hash|\.(exec|users)(\[\d+\])?)$/;

/** What was a key of its own, and is one of `limits` now. */
const moved: ReadonlyMap<string, string> = new Map([
  ['upstreams[].connections', 'limits.maxConnections'],
  ['upstreams[].queueFor', 'limits.queueFor'],
]);

/** What is wrong with a configuration, a sentence each: the path, what was expected, and what was there instead. */
export function describeProblems(error: z.ZodError, input: unknown): readonly string[] {
  return error.issues.flatMap((issue) => describeIssue(issue, [], input));
}

function describeIssue(issue: z.core.$ZodIssue, parent: Path, input: unknown): readonly string[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => describeUnknown(formatPath(path), key));
  if (issue.code === 'invalid_union') {
    // Of the union's sides the one that the value resembles most: keys were given, so it is not about its type.
    const sides = [...issue.errors].sort((one, other) => mismatches(one) - mismatches(other));
    return (sides[0] ?? []).flatMap((inner) => describeIssue(inner, path, input));
  }
  const value = valueAt(input, path);
  const name = formatPath(path) || 'the configuration';
  return [describeValue(name, issue.message, value)];
}

/** A sentence on a wrong value. What is or may be a secret is not shown. */
export function describeValue(path: string, expected: string, value: unknown): string {
  return `${path}: ${expected}, received ${show(path, expected, value)}${hint(expected, value)}`;
}

const mismatches = (issues: readonly z.core.$ZodIssue[]) => issues.filter((issue) => issue.path.length === 0).length;

function describeUnknown(folder: string, key: string): string {
  const prefix = folder === '' ? '' : `${folder.replace(/\[\d+\]/g, '[]')}.`;
  const known = listConfigKeys(configSchema).filter(({ path }) => path.startsWith(prefix));
  const siblings = new Set(known.map(({ path }) => /^\w+/.exec(path.slice(prefix.length))?.[0] ?? ''));
  const meant = moved.get(`${prefix}${key}`) ?? nearestName(key, siblings);
  // Its value is not shown: a misspelt `password` is a password all the same.
  const advice = meant === undefined ? `expected one of ${[...siblings].join(', ')}` : `did you mean "${meant}"?`;
  return `${folder === '' ? '' : `${folder}.`}${nameOf(key)}: unknown key; ${advice}`;
}

/** `upstreams[1].timeouts.connect` */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? nameOf(part) : `${text}.${nameOf(part)}`;
  }, '');
}

/** A key that is no name may have its value in it, where a space is missing: `{password:271828}`. */
const nameOf = (key: PropertyKey) => (/^[\w-]+$/.test(String(key)) ? String(key) : '…');

function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

function show(path: string, expected: string, value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null)
    return `the keys ${Object.keys(value).map(nameOf).join(', ') || '(none)'}`;
  if (value === null || value === undefined) return 'nothing';
  // Where keys belong, a text alone may be the secret that is meant to be one of their values: `auth: ${TOKEN}`.
  if (secret.test(path) || expected.includes('keys')) return `a ${typeof value} that is not shown`;
  // First, as what is long may end before the `@` that tells it is a password.
  return withoutSecrets(JSON.stringify(value)).slice(0, 200);
}

/** Without user, password, query and fragment of a URL, also of one that is none. */
function withoutSecrets(json: string): string {
  // Either may be in the other: a `?` of a password, an `@` of a query.
  if (/[?#].*@/s.test(json)) return '"…"';
  return json.replace(/(\/\/|^").*@/s, '$1…@').replace(/([?#]).*"/s, '$1…"');
}

/** What was probably meant, to be appended. */
function hint(expected: string, value: unknown): string {
  if (expected.startsWith('expected text') && typeof value !== 'object' && value !== undefined && value !== '')
    return '; put it in quotes';
  if (expected.startsWith('expected one of') && typeof value === 'string') {
    const meant = nearestName(
      value,
      [...expected.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? ''),
    );
    return meant === undefined ? '' : `; did you mean "${meant}"?`;
  }
  if (!expected.includes('http(s) URL') || typeof value !== 'string') return '';
  // Docker Hub's source host is not where its registry answers.
  if (/^(https?:\/\/)?(index\.)?docker\.io\/?$/.test(value)) return '; did you mean "https://registry-1.docker.io"?';
  const isBare = !/:\/\/|[@?#]/.test(value) && URL.canParse(`https://${value}`);
  return isBare ? `; did you mean ${JSON.stringify(`https://${value}`)}?` : '';
}
