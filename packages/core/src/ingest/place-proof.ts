import { isProofOf } from '../upstream/said-of-blob.ts';
import type { Reply } from '../upstream/upstream.ts';
import type { Permission } from './leader.ts';

/** Whether a repository proved to hold a blob, in the course of one transfer. */
export interface PlaceProof {
  /** It was given the blob, or follows one who was for the same place. */
  grant(): void;
  /**
   * `undefined`: it may be given what others fetched, if that {@link covers} it. `unproven`: its upstream could not say; the
   * blob itself would be the proof.
   *
   * @throws the signal's reason
   */
  refusal(signal: AbortSignal): Promise<Reply<never> | 'unproven' | undefined>;
  /** Whether what it said is true of what others fetched, which has so many bytes, rather than what it says to anything. */
  covers(size: number | undefined): boolean;
}

/** Asks no more than it has to. */
export function placeProof({ said: before, ask }: Permission): PlaceProof {
  let isGranted = false;
  let said = before;

  return {
    grant() {
      isGranted = true;
    },
    async refusal(signal) {
      if (isGranted || said) return undefined;
      try {
        const reply = await ask(signal);
        if (reply.kind !== 'found') return reply;
        said = reply.value;
      } catch {
        signal.throwIfAborted();
        return 'unproven';
      }
      return undefined;
    },
    covers: (size) => isGranted || (said !== undefined && isProofOf(said, size)),
  };
}
