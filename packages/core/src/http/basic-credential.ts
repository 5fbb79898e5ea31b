import type { BasicCredential } from '../upstream/caller.ts';

// Passwords of clouds are keys and tokens of some kilobytes. Node takes 16 KiB of headers in all.
const longest = 8 * 1024;

/**
 * The user and password of an `Authorization` header (RFC 7617); `undefined` for none, for another scheme and for what is not
 * well-formed: all of them get a challenge. An empty name or password is none: clients without a login send both.
 */
export function basicCredentialOf(header: string | null): BasicCredential | undefined {
  if (header === null || header.length > longest) return undefined;
  const [, encoded] = /^basic +([a-z0-9+/]+={0,2})$/i.exec(header) ?? [];
  if (encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  // What is read is sent on in UTF-8: bytes that are none would become another password.
  const text = bytes.toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1 || colon === text.length - 1 || !Buffer.from(text, 'utf8').equals(bytes)) return undefined;
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
