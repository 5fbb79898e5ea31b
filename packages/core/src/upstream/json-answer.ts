import { isTooDeep } from './json-depth.ts';
import { readBounded } from './manifest-answer.ts';
import { isHtml } from './own-voice.ts';
import type { Answer } from './question.ts';
import { UpstreamError } from './upstream-error.ts';

/** What a JSON answer is judged by. */
export interface JsonContext {
  /** The upstream's key. */
  key: string;
  /** What was asked for, as it may be shown. */
  subject: string;
  maxBytes: number;
}

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Reads a JSON object of bounded size, and how many bytes it took. @throws UpstreamError `too-large`, `foreign-answer` */
export async function readJsonObject(
  answer: Answer,
  { key, subject, maxBytes }: JsonContext,
): Promise<{ object: JsonObject; bytes: number }> {
  const { status, headers } = answer;
  const fail = (code: 'too-large' | 'foreign-answer', why: string) =>
    new UpstreamError(code, `${key} ${why} for ${subject}`, { upstream: key, status });
  const bytes = await readBounded(answer.body, headers, maxBytes);
  if (!bytes) throw fail('too-large', `sent more than ${maxBytes} bytes`);
  if (isTooDeep(bytes)) throw fail('foreign-answer', 'sent JSON nested too deep');
  const value = parseJson(bytes);
  if (isJsonObject(value)) return { object: value, bytes: bytes.byteLength };
  throw fail('foreign-answer', isHtml(headers) ? 'answered with a web page' : 'sent what is no JSON object');
}

/** Whether a value is an object and no list. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // What is wrong with it would quote it, and nobody asked for it.
    return undefined;
  }
}
