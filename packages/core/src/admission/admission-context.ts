import { parseManifest } from '../oci/manifest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { AdmissionContext } from './hook.ts';
import type { Facet, Question } from './question.ts';

/** What a question is answered by. */
export interface Evidence {
  /** When it was first seen, in ms since the epoch; else why that is not known. */
  firstSeen: { at: number } | { error: unknown };
  /** Ms since the epoch. */
  now: number;
  signal: AbortSignal;
}

/**
 * What a policy sees of a question.
 *
 * @param read gets what it looked at of what another question may have otherwise
 * @throws ProxyCacheError `manifest-unsupported`
 */
export function createContext(question: Question, evidence: Evidence, read: Set<Facet>): AdmissionContext {
  const { place, reference, asker, parents, found, content } = question;
  const { firstSeen, now, signal } = evidence;
  const manifest = parseManifest(found.bytes);
  const { annotations = {} } = manifest;
  const noted = <T>(facet: Facet, value: T): T => {
    read.add(facet);
    return value;
  };
  return {
    upstream: place.upstream,
    repository: place.repository,
    descriptor: found.descriptor,
    manifest,
    annotations,
    now,
    signal,
    get reference() {
      return noted('reference', reference);
    },
    get parents() {
      return noted('parents', parents);
    },
    get identity() {
      return noted('identity', asker?.identity);
    },
    get request() {
      return noted('request', asker?.request);
    },
    get firstSeenAt() {
      if ('at' in firstSeen) return firstSeen.at;
      const message = 'when it was first seen here cannot be read or written down now';
      throw new ProxyCacheError('admission-failed', message, { cause: firstSeen.error });
    },
    async config() {
      return manifest.config && (await content.blob(manifest.config.digest, signal));
    },
    referrers: () => content.referrers(found.descriptor.digest, signal),
    fetchManifest: (wanted) => content.manifest(wanted, signal),
    fetchBlob: (digest) => content.blob(digest, signal),
  };
}
