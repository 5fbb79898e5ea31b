import type { RunningIngest } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { abortable } from '../runtime/collapse.ts';
import type { OpenBlob } from '../store/blob-store.ts';
import { isProofOf, type SaidOfBlob } from '../upstream/said-of-blob.ts';
import { type BlobProof, saidByLink } from './blob-proof.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/** A blob that is asked for through one repository, and came here for another one. */
export interface SharedBlob {
  target: Target;
  digest: Digest;
  /** `clock.monotonic()` ms at which whoever asks began to wait. */
  since: number;
  /** What the repository said of it already. */
  said: SaidOfBlob | undefined;
  signal: AbortSignal;
}

/** What a repository says of a blob, and whether that proves that it holds it. */
export type JudgedBlob = Promise<{ said: SaidOfBlob; proves: boolean }>;

/**
 * Holds what a repository says of a blob (what it said already, a link, or what it answers now) against the blob itself.
 * SEMANTICS 19, 20.
 *
 * @throws as {@link BlobProof} does
 */
export interface SharedBlobProof {
  /** Of a stored one, which is closed where it is not this repository's. */
  ofStored(blob: SharedBlob, stored: OpenBlob): JudgedBlob;
  /**
   * Of a transfer under way. Where its size matters, its upstream's answer is waited for; nothing is known of one whose size
   * that does not tell.
   */
  ofTransfer(blob: SharedBlob, running: RunningIngest): JudgedBlob;
}

export function createSharedBlobProof({ links }: Pick<PullParts, 'links'>, prove: BlobProof): SharedBlobProof {
  async function judged(
    { target, digest, since, said: before, signal }: SharedBlob,
    isIts: (said: SaidOfBlob) => boolean | Promise<boolean>,
  ): JudgedBlob {
    const link = before ? undefined : await links.find(target.place, 'blob', digest, signal);
    if (link && (await isIts(saidByLink(link)))) return { said: saidByLink(link), proves: true };
    const said = before ?? (await prove(target, { digest, since, signal }));
    return { said, proves: await isIts(said) };
  }

  return {
    async ofStored(blob, stored) {
      let isIts = false;
      try {
        const judgement = await judged(blob, (said) => isProofOf(said, stored.size));
        isIts = judgement.proves;
        return judgement;
      } finally {
        if (!isIts) await stored.close();
      }
    },
    ofTransfer: (blob, { reply }) =>
      judged(blob, async (said) => {
        if (said.named) return true;
        const answer = await abortable(reply, blob.signal).catch(() => undefined);
        blob.signal.throwIfAborted();
        // One that failed has nothing to give.
        return answer?.kind !== 'found' || isProofOf(said, answer.value.total);
      }),
  };
}
