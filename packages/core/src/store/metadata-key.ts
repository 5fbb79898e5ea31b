import { ProxyCacheError } from '../runtime/errors.ts';

const longestSegment = 255;
const segmentPattern = /^[A-Za-z0-9._~%-]+$/;

const isSegment = (text: string) =>
  text.length <= longestSegment && text !== '.' && text !== '..' && segmentPattern.test(text);

/**
 * A metadata key that is safe to become a path, a Redis key or a row.
 *
 * @throws ProxyCacheError `storage-failed` for what is no key by the rule of `MetadataStore`
 */
export function checkMetadataKey(key: string): string {
  if (key.split('/').every(isSegment)) return key;
  throw new ProxyCacheError('storage-failed', `${JSON.stringify(key.slice(0, 300))} is not a metadata key`);
}

/** Segments of a prefix, `''` or segments that each end in `/`. @throws ProxyCacheError `storage-failed` */
export function prefixSegments(prefix: string): readonly string[] {
  const segments = prefix.split('/');
  if (segments.pop() === '' && segments.every(isSegment)) return segments;
  throw new ProxyCacheError(
    'storage-failed',
    `${JSON.stringify(prefix.slice(0, 300))} is not a prefix of metadata keys`,
  );
}

/**
 * What keys are ordered by, as plain text: segment by segment. The separator must sort before all that a segment may
 * hold, or `a-b` would come between `a` and `a/c`.
 */
export function keyOrder(key: string): string {
  return key.replaceAll('/', '\0');
}

/** The keys, ascending by their segments. */
export function sortKeys(keys: Iterable<string>): string[] {
  return [...keys]
    .map((key) => ({ key, order: keyOrder(key) }))
    .sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0))
    .map(({ key }) => key);
}
