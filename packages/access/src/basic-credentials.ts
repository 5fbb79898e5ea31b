/** What an `Authorization` header says, as RFC 7617 reads it. Messages lack the word Basic: what follows it is redacted. */
export type BasicCredentials =
  | { kind: 'none' }
  /** Of another scheme, such as Bearer. */
  | { kind: 'foreign' }
  | { kind: 'malformed'; message: string }
  | { kind: 'credentials'; user: string; password: string };

// Beyond any name and password in use, and half of what Node takes for all headers together.
const longestHeader = 8 * 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @param header value of `Authorization`, `null` where there is none */
export function readBasicCredentials(header: string | null): BasicCredentials {
  if (header === null || header === '') return { kind: 'none' };
  // RFC 9110 11.1: the name of a scheme has no case.
  if (!/^basic(?: |$)/i.test(header)) return { kind: 'foreign' };
  if (header.length > longestHeader) return malformed(`are longer than ${longestHeader} characters`);
  const encoded = header.slice('basic'.length).trim();
  // Buffer.from skips what is no base64. RFC 4648 5 and missing padding are harmless; a list of two values is not.
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(encoded)) return malformed('are not in base64');
  const text = decode(Buffer.from(encoded, 'base64'));
  if (text === undefined) return malformed('are not in UTF-8');
  // RFC 7617 2: neither part has control characters. A NUL would end a password for some that compare it.
  if (/\p{Cc}/u.test(text)) return malformed('have control characters');
  // containers/image sends an empty name and password where it has none and is asked for them.
  if (text === ':') return { kind: 'none' };
  const colon = text.indexOf(':');
  if (colon === -1) return malformed('have no ":" between user and password');
  const user = text.slice(0, colon);
  const password = text.slice(colon + 1);
  if (user === '') return malformed('have no user name');
  if (password === '') return malformed('have no password');
  return { kind: 'credentials', user, password };
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

const malformed = (what: string): BasicCredentials => ({
  kind: 'malformed',
  message: `the credentials ${what}`,
});
