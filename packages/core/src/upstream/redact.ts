const longest = 500;

// One character class before each quantifier and a fixed start: read in linear time, whatever an upstream sends.
const rules: readonly (readonly [RegExp, string])[] = [
  // The user, query and fragment of a URL; signed URLs carry their secret there (RFC 3986 3).
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/?#"'<>@]*@/gi, '$1'],
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/[^\s?#"'<>]*)[?#][^\s"'<>]*/gi, '$1'],
  [/\b(bearer|basic)\s+[a-z0-9._~+/=-]+/gi, '$1 [redacted]'],
  // A value behind a telling name, in JSON, in a header or in a form.
  [
    /((?:token|password|passwd|secret|signature|credential|authorization|api[_-]?key)s?"?\s{0,3}[:=]\s{0,3}"?)[^\s"&,;}]+/gi,
    '$1[redacted]',
  ],
];

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;

/**
 * Text from outside as it may be shown, in errors, events and answers: without credentials, tokens and the queries of
 * URLs, on one line, at most 500 characters.
 */
export function redact(text: string): string {
  let clean = text.slice(0, 4 * longest).replace(control, ' ');
  for (const [pattern, replacement] of rules) clean = clean.replace(pattern, replacement);
  return clean.length > longest ? `${clean.slice(0, longest - 1)}…` : clean.trim();
}

/**
 * An error from outside as a cause that may be shown: its name, its redacted message, its code and where it was thrown.
 * What else hangs on it is left behind: parsers keep the bytes they could not read, clients of clouds their requests.
 */
export function redactError(error: unknown): Error {
  const { name, message, code, stack } = partsOf(error);
  const shown = new Error(message);
  shown.name = name;
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line));
  shown.stack = [`${name}: ${message}`, ...frames].join('\n');
  return code === undefined ? shown : Object.assign(shown, { code });
}

function partsOf(error: unknown): { name: string; message: string; code: string | undefined; stack: string } {
  if (!(error instanceof Error)) return { name: 'Error', message: redact(String(error)), code: undefined, stack: '' };
  // Of several addresses that were tried, the first says why.
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return partsOf(error.errors[0]);
  const code = 'code' in error && typeof error.code === 'string' ? redact(error.code) : undefined;
  return { name: redact(error.name), message: redact(error.message), code, stack: error.stack ?? '' };
}
