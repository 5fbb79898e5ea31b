import { parseDuration } from './duration.ts';
import { ProxyCacheError } from './errors.ts';
import { nearestName } from './nearest-name.ts';

// Each of these throws ProxyCacheError `invalid-options` with the path, what was expected and what was received.
// `undefined` passes everywhere but in expectObject and expectText: an option that is left out has its default.

/** The error of an option that is wrong. */
export function invalidOption(path: string, expected: string, received: unknown, hint = ''): ProxyCacheError {
  return new ProxyCacheError('invalid-options', `${path}: expected ${expected}, received ${shown(received)}${hint}`);
}

// Objects and lists are named, not shown: what stands in the wrong place may be a credential.
function shown(value: unknown): string {
  // As in a URL that somebody copied into a list of hosts.
  if (typeof value === 'string' && /:[^/]*@/.test(value.slice(0, 2000)))
    return 'a text that is not shown, as it may have a password';
  if (typeof value === 'string') return shownText(value);
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

function shownText(text: string): string {
  // The query of a URL may hold a token.
  const query = /^[a-z][a-z0-9+.-]*:\/\/[^?]{0,200}\?/i.exec(text)?.[0];
  if (query !== undefined) return JSON.stringify(`${query}…`);
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

export function expectObject(path: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalidOption(path, 'an object', value);
}

/** Refuses names that are none: a misspelt option would be passed over in silence. */
export function expectKnown(path: string, value: object, names: readonly string[]): void {
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown === undefined) return;
  const meant = nearestName(unknown, names);
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
  throw new ProxyCacheError('invalid-options', `${path}${path && '.'}${unknown}: there is no such option${hint}`);
}

export function expectBoolean(path: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean') throw invalidOption(path, 'true or false', value);
}

export function expectFunction(path: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw invalidOption(path, 'a function', value);
}

export function expectMethod(path: string, value: object, name: string): void {
  const method: unknown = Reflect.get(value, name);
  if (typeof method !== 'function') throw invalidOption(`${path}.${name}`, 'a function', method);
}

export function expectClock(path: string, value: unknown): void {
  if (value === undefined) return;
  expectObject(path, value);
  for (const name of ['now', 'monotonic', 'after']) expectMethod(path, value as object, name);
}

export function expectText(path: string, value: unknown): void {
  if (typeof value !== 'string') throw invalidOption(path, 'a text', value);
}

export function expectWhole(path: string, value: unknown, least = 0): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= least)) return;
  throw invalidOption(path, `a whole number from ${least}`, value);
}

export function expectShare(path: string, value: unknown): void {
  if (value === undefined || (typeof value === 'number' && value >= 0 && value <= 1)) return;
  throw invalidOption(path, 'a share from 0 to 1', value);
}

export function expectOneOf(path: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value as string)) return;
  throw invalidOption(path, choices.map((choice) => JSON.stringify(choice)).join(' or '), value);
}

export function expectEach(path: string, value: unknown, entry: { is: string; test: (text: string) => boolean }): void {
  if (value === undefined) return;
  if (!Array.isArray(value)) throw invalidOption(path, `a list, each ${entry.is}`, value);
  value.forEach((one, index) => {
    if (typeof one !== 'string' || !entry.test(one)) throw invalidOption(`${path}[${index}]`, entry.is, one);
  });
}

/** @param least in ms */
export function expectDuration(path: string, value: unknown, least = 0): void {
  if (value === undefined) return;
  let ms: number;
  try {
    ms = parseDuration(value as never);
  } catch {
    throw invalidOption(path, 'a duration such as 500, "10s" or "7d"', value);
  }
  if (ms < least) throw invalidOption(path, `a duration of ${least} ms or more`, value);
}

/**
 * An http(s) URL without query or fragment, and without credentials unless they are allowed. What is received is shown
 * only where no secret can be in it.
 */
export function expectUrl(path: string, value: unknown, allow: { credentials?: boolean } = {}): void {
  if (value === undefined) return;
  const text = typeof value === 'string' ? value : '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:';
  const bare = !/[?#]/.test(text) && (allow.credentials === true || !text.includes('@'));
  if (isHttp && bare) return;
  if (!bare) {
    const where = allow.credentials ? '' : '; credentials belong into auth';
    const parts = allow.credentials ? 'query or fragment' : 'user, password, query or fragment';
    throw new ProxyCacheError('invalid-options', `${path}: expected an http(s) URL without ${parts}${where}`);
  }
  if (text.includes('@')) throw new ProxyCacheError('invalid-options', `${path}: expected an http(s) URL`);
  const hint = /^[a-z0-9.-]+(:\d+)?(\/.*)?$/i.test(text) ? `; did you mean "https://${text}"?` : '';
  throw invalidOption(path, 'an http(s) URL', value, hint);
}
