import { createHash } from 'node:crypto';

// A segment of a metadata key has at most 255 bytes; suffixes that stores add for temporary names want some of them.
const longestSegment = 200;

/**
 * A text as one segment of a metadata key. What is too long becomes `~` and its hash: `~` is in no name, tag or digest,
 * so nothing else can be taken for it.
 */
export function segment(text: string): string {
  const encoded = encodedName(text) ?? encodedText(text);
  return encoded.length <= longestSegment ? encoded : `~${createHash('sha256').update(text).digest('hex')}`;
}

function encodedText(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
}

/** The same for names, tags and digests, which every request is about: `undefined` where other characters are in it. */
function encodedName(text: string): string | undefined {
  let encoded = '';
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (isPlain(code)) continue;
    if (code !== slash && code !== colon) return undefined;
    encoded += text.slice(from, i) + (code === slash ? '%2F' : '%3A');
    from = i + 1;
  }
  return from === 0 ? text : encoded + text.slice(from);
}

const slash = 47;
const colon = 58;

// `a-z`, `0-9`, `-`, `.`, `A-Z`, `_`
const isPlain = (code: number) =>
  (code >= 97 && code <= 122) ||
  (code >= 48 && code <= 57) ||
  code === 45 ||
  code === 46 ||
  (code >= 65 && code <= 90) ||
  code === 95;

/** The text of a segment; `undefined` for one that is a hash. */
export function textOf(segment: string): string | undefined {
  return segment.startsWith('~') ? undefined : decodeURIComponent(segment);
}

/** A key of the metadata store: `tag/docker-hub/-/library%2Falpine/3`. */
export function keyOf(...parts: readonly string[]): string {
  let key = '';
  for (const part of parts) key += key === '' ? segment(part) : `/${segment(part)}`;
  return key;
}

/** A prefix for `list`: the keys below these parts. */
export function prefixOf(...parts: readonly string[]): string {
  return `${keyOf(...parts)}/`;
}
