import { redact } from '../upstream/redact.ts';

/** A decision and how long it holds, in ms since the epoch. */
export type Judgement =
  | { kind: 'allow'; until: number }
  | { kind: 'deny'; until: number; reason: string }
  | { kind: 'hold'; until: number; reason: string | undefined };

const expected = 'expected { allow: true }, { deny: true, reason } or { holdUntil: ms since the epoch }';

// ECMA-262 21.4.1.1: later there is no date.
const latest = 8.64e15;

/**
 * What a hook gave, which is nobody's word: what is no decision lets nothing pass.
 *
 * @param otherwise until when a decision holds that does not say so itself
 * @throws Error that says what was expected
 */
export function readDecision(given: unknown, otherwise: number): Judgement {
  if (typeof given !== 'object' || given === null) throw new Error(expected);
  const { allow, deny, holdUntil, until, reason } = given as Readonly<Record<string, unknown>>;
  const said = [allow, deny, holdUntil].filter((value) => value !== undefined && value !== false);
  if (said.length !== 1) throw new Error(expected);
  if (allow === true) {
    if (until !== undefined && (typeof until !== 'number' || Number.isNaN(until))) {
      throw new Error('expected until to be ms since the epoch');
    }
    return { kind: 'allow', until: until ?? otherwise };
  }
  if (deny === true && typeof reason === 'string') return { kind: 'deny', until: otherwise, reason: redact(reason) };
  if (typeof holdUntil !== 'number' || !(holdUntil >= 0 && holdUntil <= latest)) throw new Error(expected);
  return { kind: 'hold', until: holdUntil, reason: typeof reason === 'string' ? redact(reason) : undefined };
}
