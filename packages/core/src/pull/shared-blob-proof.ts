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
export interface JudgedBlob {
  said: SaidOfBlob;
  proves: boolean;
}

/**
 * Holds what a repository says of a blob (what it said already, a link, or what it answers now) against the blob itself.
 * SEMANTICS 19, 20.
 *
 * @throws as {@link BlobProof} does
 */
export interface SharedBlobProof {
  /** Of a stored one, which is closed where it is not this repository's. */
  ofStored(blob: SharedBlob, stored: OpenBlob): Promise<JudgedBlob>;
  /**
   * Of a transfer under way. Where its size matters, its upstream's answer is waited for; where that does not tell it, all
   * of its bytes are, till they were found right.
   *
   * @returns also `since`, moved on by what was waited for the bytes: none of that was the repository's time
   */
  ofTransfer(blob: SharedBlob, running: RunningIngest): Promise<JudgedBlob & { since: number }>;
}

export function createSharedBlobProof(
  { links, clock }: Pick<PullParts, 'links' | 'clock'>,
  prove: BlobProof,
): SharedBlobProof {
  async function judged(
    { target, digest, since, said: before, signal }: SharedBlob,
    isIts: (said: SaidOfBlob) => boolean | Promise<boolean>,
  ): Promise<JudgedBlob> {
    const link = before ? undefined : await links.find(target.place, 'blob', digest, signal);
    if (link && (await isIts(saidByLink(link)))) return { said: saidByLink(link), proves: true };
    // To find that a link is wrong may have taken as long as a transfer does.
    const said = before ?? (await prove(target, { digest, ...(!link && { since }), signal }));
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
    async ofTransfer(blob, running) {
      const { signal } = blob;
      let { since } = blob;
      const judgement = await judged(blob, async (said) => {
        if (said.named) return true;
        const answer = await abortable(running.reply, signal).catch(() => undefined);
        signal.throwIfAborted();
        // One that failed has nothing to give.
        if (answer?.kind !== 'found') return true;
        const { total } = answer.value;
        if (total !== undefined || said.size === undefined) return isProofOf(said, total);
        const waitsFrom = clock.monotonic();
        const size = await verifiedSize(running, signal);
        since += clock.monotonic() - waitsFrom;
        return size === undefined || isProofOf(said, size);
      });
      return { ...judgement, since };
    },
  };
}

/** How many bytes a transfer brought, when they were found right; `undefined`: it failed. */
async function verifiedSize(running: RunningIngest, signal: AbortSignal): Promise<number | undefined> {
  const leave = running.join();
  try {
    await abortable(running.verified, signal);
    return running.received();
  } catch {
    signal.throwIfAborted();
    return undefined;
  } finally {
    leave();
  }
}
