import type { Identity, Verdict } from './hooks.ts';

// Hooks are the host's, and may be without types: what is not what they were asked for must let nobody in. Each of these
// throws Error saying what was expected; what was given is not shown, as it may hold anything.

/** @throws Error */
export function readIdentity(given: unknown): Identity | undefined {
  if (given === undefined) return undefined;
  const { name, repositories } = objectOf(given, 'an identity or undefined');
  // It stands in audits: on one line.
  if (typeof name !== 'string' || !/^[^\p{Cc}\u2028\u2029]{1,256}$/u.test(name)) {
    throw new Error('expected an identity with a name of 1 to 256 characters on one line');
  }
  if (repositories !== undefined && !isTexts(repositories)) {
    throw new Error("expected an identity's repositories to be a list of names");
  }
  return given as Identity;
}

/** @throws Error */
export function readVerdict(given: unknown): Verdict {
  const expected = 'true, false, { allow: true } or { allow: false, reason }';
  if (typeof given === 'boolean') return given ? { allow: true } : { allow: false, reason: 'not allowed' };
  const { allow, reason } = objectOf(given, expected);
  if (allow === true) return { allow };
  if (allow === false && typeof reason === 'string') return { allow, reason };
  throw new Error(`expected ${expected}`);
}

/** @throws Error */
export function readChallenges(given: unknown): readonly string[] {
  const values = typeof given === 'string' ? [given] : given;
  // RFC 9110 5.5: what is no field value would end the header, or fail the whole answer.
  if (isTexts(values) && values.every((value) => /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value)))
    return values;
  throw new Error('expected values of WWW-Authenticate');
}

function objectOf(given: unknown, expected: string): Readonly<Record<string, unknown>> {
  if (typeof given === 'object' && given !== null) return given as Readonly<Record<string, unknown>>;
  throw new Error(`expected ${expected}`);
}

const isTexts = (given: unknown): given is readonly string[] =>
  Array.isArray(given) && given.every((one) => typeof one === 'string');
