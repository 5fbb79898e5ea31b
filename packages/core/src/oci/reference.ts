import { ProxyCacheError } from '../runtime/errors.ts';
import { parseDigest } from './digest.ts';
import { isTag, parseRepository, type TagOrDigest } from './name.ts';

/** An image as people write it: `docker-hub/library/alpine:3`, or `…@sha256:…`. */
export interface Reference {
  name: string;
  reference: TagOrDigest;
}

/**
 * Parses a reference whose name starts with an upstream's key. Without tag or digest, `latest` is meant; with both, the
 * digest.
 *
 * @throws ProxyCacheError `name-invalid`, `tag-invalid`, `digest-invalid`
 */
export function parseReference(text: string): Reference {
  const at = text.indexOf('@');
  const tagged = at < 0 ? text : text.slice(0, at);
  const colon = tagged.indexOf(':', tagged.lastIndexOf('/') + 1);
  const name = parseRepository(colon < 0 ? tagged : tagged.slice(0, colon));
  const tag = parseTag(colon < 0 ? 'latest' : tagged.slice(colon + 1));
  if (at < 0) return { name, reference: { kind: 'tag', tag } };
  return { name, reference: { kind: 'digest', digest: parseDigest(text.slice(at + 1)) } };
}

function parseTag(text: string): string {
  if (isTag(text)) return text;
  throw new ProxyCacheError('tag-invalid', `${JSON.stringify(text.slice(0, 150))} is not a legal tag`);
}
