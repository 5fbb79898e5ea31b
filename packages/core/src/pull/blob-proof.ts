import type { Digest } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import { createFlights } from '../runtime/collapse.ts';
import { traceFlights } from '../runtime/trace-flights.ts';
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

/** What a repository said of a blob. */
export interface SaidOfBlob {
  size?: number;
  /** Whether that proves that it holds the blob, rather than that it says yes to anything. */
  proves: boolean;
}

/**
 * Whether an answer proves that a repository holds a blob. A login page answers 200 to any digest: an answer that does not
 * name it must at least have its size.
 */
export function isProof({ size, named }: { size?: number; named: boolean }, known?: number): boolean {
  return named || (size !== undefined && size === (known ?? size));
}

/**
 * Asks a repository whether it holds a blob: one HEAD, however many wait for it. What proves it is written down.
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
        const proves = isProof(said.value, known);
        // Before the flight lands: whoever comes then finds the proof.
        if (proves) void proveBlob(parts, target, { digest, size });
        return { kind: 'found', value: { ...(size !== undefined && { size }), proves } } as const;
      },
      signal,
    );
    const reply = await asked.catch(async (error: unknown): Promise<Reply<SaidOfBlob>> => {
      const { size } = await unproven(parts, target, { kind: 'blob', digest, signal, error });
      return { kind: 'found', value: { ...(size !== undefined && { size }), proves: true } };
    });
    if (reply.kind !== 'found') throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
    return reply.value;
  };
}
