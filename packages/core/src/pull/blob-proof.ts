import type { Link } from '../catalog/links.ts';
import type { Digest } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import { createFlights } from '../runtime/collapse.ts';
import { traceFlights } from '../runtime/trace-flights.ts';
import { isProofOf, type SaidOfBlob } from '../upstream/said-of-blob.ts';
import type { Reply } from '../upstream/upstream.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { queryOf, type Target, targetKey } from './target.ts';
import { unproven } from './unproven.ts';

/** Writes down that a repository's own answer proved it to hold a blob. */
export function proveBlob(
  parts: PullParts,
  target: Target,
  blob: { digest: Digest; size: number | undefined },
): Promise<void> {
  return parts.links.prove(target.place, 'blob', { ...blob, mediaType: mediaTypes.blob });
}

/** A blob's size as the latest manifest of this repository tells it: a hint, of which nobody knows that it is true. */
export async function toldSize(
  { manifests, links }: PullParts,
  { place }: Target,
  asked: { digest: Digest; signal: AbortSignal },
): Promise<number | undefined> {
  for (const { size, manifest } of manifests.sizesOf(asked.digest)) {
    if (await links.find(place, 'manifest', manifest, asked.signal)) return size;
  }
  return undefined;
}

/**
 * What a link says of a blob. One with a size may be the word of an answer that did not name it, and that nothing was held
 * against yet.
 */
export function saidByLink({ size }: Link): SaidOfBlob {
  return size === undefined ? { named: true } : { size, named: false };
}

/**
 * Asks a repository whether it holds a blob: one HEAD, however many wait for it. What may prove it is written down; whether
 * it does, whoever has the bytes says by {@link isProofOf}.
 *
 * @throws ProxyCacheError `blob-unknown`, `denied`; UpstreamError
 */
export type BlobProof = (
  target: Target,
  asked: {
    digest: Digest;
    /** The size of the one that is here. */
    known?: number | undefined;
    /** `clock.monotonic()` ms at which whoever asks began to wait. Default: now. */
    since?: number;
    signal: AbortSignal;
  },
) => Promise<SaidOfBlob>;

export function createBlobProof(parts: PullParts): BlobProof {
  const flights = traceFlights(createFlights<Reply<SaidOfBlob>>(parts.asking), parts.trace, 'ask for proof');

  return async (target, { digest, known, since = parts.clock.monotonic(), signal }) => {
    const asked = flights.join(
      `${targetKey(target)} ${digest}`,
      async (signalOfAll) => {
        const within = { ms: target.upstream.blobWithinMs, signal: signalOfAll };
        const query = queryOf(target, since, within);
        const said = await target.upstream.client.statBlob({ ...query, digest });
        if (said.kind !== 'found') return said;
        const { size } = said.value;
        // Before the flight lands: whoever comes then finds the proof.
        if (isProofOf(said.value, known ?? size)) void proveBlob(parts, target, { digest, size });
        return said;
      },
      signal,
    );
    const reply = await asked.catch(async (error: unknown): Promise<Reply<SaidOfBlob>> => {
      return {
        kind: 'found',
        value: saidByLink(await unproven(parts, target, { kind: 'blob', digest, signal, error })),
      };
    });
    if (reply.kind !== 'found') throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
    return reply.value;
  };
}
