import { ProxyCacheError } from '@proxycache/core';

/**
 * Text as a quoted-string of RFC 9110 5.6.4.
 *
 * @param path as messages name the option
 * @throws ProxyCacheError `invalid-options` for what no header can hold
 */
export function quotedString(path: string, text: string): string {
  if (typeof text === 'string' && /^[\x20-\x7e]{1,256}$/.test(text)) return `"${text.replace(/["\\]/g, '\\$&')}"`;
  throw new ProxyCacheError('invalid-options', `${path}: expected 1 to 256 printable ASCII characters`);
}
