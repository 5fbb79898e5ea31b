/** One way of authentication that a server offers (RFC 9110 11.6.1). Scheme and parameter names are in lowercase. */
export interface Challenge {
  scheme: string;
  parameters: ReadonlyMap<string, string>;
}

/**
 * Reads `WWW-Authenticate` headers in one scan: several challenges in one header, quoted strings with commas and
 * escapes, parameters without quotes, tokens in the place of parameters. What cannot be read ends the list.
 */
export function parseChallenges(headers: string | readonly string[] | undefined): Challenge[] {
  const texts = typeof headers === 'string' ? [headers] : (headers ?? []);
  return texts.flatMap(parseHeader);
}

function parseHeader(text: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = skip(text, 0, ' \t,');
  while (at < text.length) {
    const end = endOfToken(text, at);
    if (end === at) break;
    const parameters = new Map<string, string>();
    challenges.push({ scheme: text.slice(at, end).toLowerCase(), parameters });
    at = readParameters(text, skipToken68(text, end), parameters);
  }
  return challenges;
}

/** Reads parameters until something else comes, which is where the next challenge starts. */
function readParameters(text: string, from: number, into: Map<string, string>): number {
  let at = skip(text, from, ' \t,');
  for (;;) {
    const nameEnd = endOfToken(text, at);
    const equals = skip(text, nameEnd, ' \t');
    if (nameEnd === at || text[equals] !== '=') return at;
    const name = text.slice(at, nameEnd).toLowerCase();
    const valueAt = skip(text, equals + 1, ' \t');
    const [value, valueEnd] = text[valueAt] === '"' ? readQuoted(text, valueAt) : readBare(text, valueAt);
    // The first one counts: a second may have been added by somebody in between.
    if (!into.has(name)) into.set(name, value);
    at = skip(text, valueEnd, ' \t,');
  }
}

function readQuoted(text: string, from: number): [value: string, end: number] {
  const parts: string[] = [];
  let start = from + 1;
  for (let at = start; at < text.length; at++) {
    if (text[at] === '"') return [parts.join('') + text.slice(start, at), at + 1];
    if (text[at] !== '\\') continue;
    parts.push(text.slice(start, at));
    start = ++at;
  }
  return [parts.join('') + text.slice(start), text.length];
}

/** A value without quotes. URLs and scopes come so from servers that forget them, so it ends at a comma or a space only. */
function readBare(text: string, from: number): [value: string, end: number] {
  let at = from;
  while (at < text.length && !' \t,'.includes(text.charAt(at))) at++;
  return [text.slice(from, at), at];
}

/** Passes a token68 (`Negotiate YWJj==`), which stands alone between the scheme and the next comma. */
function skipToken68(text: string, from: number): number {
  const start = skip(text, from, ' \t');
  if (start === from) return from;
  let at = start;
  while (at < text.length && isToken68(text.charCodeAt(at))) at++;
  const bare = at;
  while (text[at] === '=') at++;
  const end = skip(text, at, ' \t');
  return bare > start && (end === text.length || text[end] === ',') ? end : from;
}

function endOfToken(text: string, from: number): number {
  let at = from;
  while (at < text.length && isTokenCharacter(text.charCodeAt(at))) at++;
  return at;
}

function skip(text: string, from: number, characters: string): number {
  let at = from;
  while (at < text.length && characters.includes(text.charAt(at))) at++;
  return at;
}

function isAlphanumeric(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
}

// RFC 9110 5.6.2.
function isTokenCharacter(code: number): boolean {
  return isAlphanumeric(code) || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(code));
}

// RFC 9110 11.2.
function isToken68(code: number): boolean {
  return isAlphanumeric(code) || '-._~+/'.includes(String.fromCharCode(code));
}
