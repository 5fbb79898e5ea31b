import { ProxyCacheError } from '../runtime/errors.ts';
import { type Digest, isDigest } from './digest.ts';

/** A tag or a digest: what a manifest is asked for by. */
export type TagOrDigest = { kind: 'tag'; tag: string } | { kind: 'digest'; digest: Digest };

/** The longest repository name we take; with a host before it, clients stop at 255 too (OCI distribution-spec, pull). */
const longestName = 255;
const longestTag = 128;

const isLowerAlphanumeric = (code: number) => (code >= 97 && code <= 122) || (code >= 48 && code <= 57);

/**
 * Whether one component between slashes is legal: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (OCI distribution-spec, pull),
 * read in one scan: a nested quantifier would backtrack for as long as an attacker likes.
 */
function isComponent(text: string, from: number, to: number): boolean {
  if (from >= to || !isLowerAlphanumeric(text.charCodeAt(from)) || !isLowerAlphanumeric(text.charCodeAt(to - 1))) {
    return false;
  }
  for (let i = from; i < to; i++) {
    if (isLowerAlphanumeric(text.charCodeAt(i))) continue;
    const separator = text[i];
    const start = i;
    while (text[i + 1] === separator) i++;
    const length = i - start + 1;
    const legal = separator === '-' || (separator === '.' && length === 1) || (separator === '_' && length <= 2);
    if (!legal || !isLowerAlphanumeric(text.charCodeAt(i + 1))) return false;
  }
  return true;
}

/** Whether the text is a legal repository name: components joined by `/`, at most 255 characters. */
export function isRepository(text: string): boolean {
  if (text.length === 0 || text.length > longestName) return false;
  let from = 0;
  for (;;) {
    const slash = text.indexOf('/', from);
    if (!isComponent(text, from, slash < 0 ? text.length : slash)) return false;
    if (slash < 0) return true;
    from = slash + 1;
  }
}

/** Whether the text is one legal component of a repository name. */
export function isPathComponent(text: string): boolean {
  return text.length <= longestName && isComponent(text, 0, text.length);
}

/** @throws ProxyCacheError `name-invalid` */
export function parseRepository(text: string): string {
  if (isRepository(text)) return text;
  throw new ProxyCacheError('name-invalid', `${JSON.stringify(text.slice(0, 300))} is not a legal repository name`);
}

/** Whether the text is a legal tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (OCI distribution-spec, pull). */
export function isTag(text: string): boolean {
  if (text.length === 0 || text.length > longestTag) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const word = isLowerAlphanumeric(code) || (code >= 65 && code <= 90) || code === 95;
    if (!word && (i === 0 || (code !== 46 && code !== 45))) return false;
  }
  return true;
}

/** @throws ProxyCacheError `tag-invalid`, or `digest-invalid` where the text has a colon, which no tag has */
export function parseTagOrDigest(text: string): TagOrDigest {
  if (isDigest(text)) return { kind: 'digest', digest: text };
  if (isTag(text)) return { kind: 'tag', tag: text };
  const code = text.includes(':') ? 'digest-invalid' : 'tag-invalid';
  throw new ProxyCacheError(code, `${JSON.stringify(text.slice(0, 150))} is neither a legal tag nor a digest`);
}
