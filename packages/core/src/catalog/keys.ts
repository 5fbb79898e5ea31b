import { createHash } from 'node:crypto';

// A segment of a metadata key has at most 255 bytes; suffixes that stores add for temporary names want some of them.
const longestSegment = 200;

/**
 * A text as one segment of a metadata key. What is too long becomes `~` and its hash: `~` is in no name, tag or digest,
 * so nothing else can be taken for it.
 */
export function segment(text: string): string {
  const encoded = encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
  return encoded.length <= longestSegment ? encoded : `~${createHash('sha256').update(text).digest('hex')}`;
}

/** The text of a segment; `undefined` for one that is a hash. */
export function textOf(segment: string): string | undefined {
  return segment.startsWith('~') ? undefined : decodeURIComponent(segment);
}

/** A key of the metadata store: `tag/docker-hub/-/library%2Falpine/3`. */
export function keyOf(...parts: readonly string[]): string {
  return parts.map(segment).join('/');
}

/** A prefix for `list`: the keys below these parts. */
export function prefixOf(...parts: readonly string[]): string {
  return `${keyOf(...parts)}/`;
}
