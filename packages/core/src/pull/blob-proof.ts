import type { Link } from '../catalog/links.ts';
import type { Digest } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import { createFlights } from '../runtime/collapse.ts';
import type { Reply } from '../upstream/upstream.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { queryOf, type Target, targetKey } from './target.ts';

/** Writes down that a repository's own answer proved it to hold a blob. */
export function proveBlob(parts: PullParts, target: Target, blob: { digest: Digest; size: number | undefined }): void {
  void parts.links.prove(target.place, 'blob', { ...blob, mediaType: mediaTypes.blob });
}

/** A blob's size as a manifest of this repository tells it: a hint, of which nobody knows that it is true. */
export async function toldSize(
  { manifests, links }: PullParts,
  { place }: Target,
  asked: { digest: Digest; signal: AbortSignal },
): Promise<number | undefined> {
  const told = manifests.sizeOf(asked.digest);
  return told && (await links.find(place, 'manifest', told.manifest, asked.signal)) && told.size;
}

/**
 * Asks a repository whether it holds a blob: one HEAD, however many wait for it.
 *
 * @throws ProxyCacheError `blob-unknown`, `denied`; UpstreamError
 */
export type BlobProof = (target: Target, digest: Digest, signal: AbortSignal) => Promise<Pick<Link, 'size'>>;

export function createBlobProof(parts: PullParts): BlobProof {
  const flights = createFlights<Reply<{ size?: number }>>();

  return async (target, digest, signal) => {
    const reply = await flights.join(
      `${targetKey(target)} ${digest}`,
      async (signalOfAll) => {
        const within = { ms: target.upstream.blobWithinMs, signal: signalOfAll };
        const query = queryOf(target, parts.clock.monotonic(), within);
        const said = await target.upstream.client.statBlob({ ...query, digest });
        // Before the flight lands: whoever comes then finds the proof.
        if (said.kind === 'found') proveBlob(parts, target, { digest, size: said.value.size });
        return said;
      },
      signal,
    );
    if (reply.kind !== 'found') throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
    return reply.value;
  };
}
