import type { Reply } from '../upstream/upstream.ts';
import type { Permission } from './leader.ts';

/** Whether a repository proved to hold a blob, in the course of one transfer. */
export interface PlaceProof {
  /** It was given the blob, or follows one who was for the same place. */
  grant(): void;
  /**
   * `undefined`: it may be given what others fetched. `unproven`: its upstream could not say, or says yes to anything; the
   * blob itself would be the proof.
   *
   * @throws the signal's reason
   */
  refusal(signal: AbortSignal): Promise<Reply<never> | 'unproven' | undefined>;
}

/** Asks no more than it has to. */
export function placeProof({ isProven, ask }: Permission): PlaceProof {
  let isGranted = isProven;

  return {
    grant() {
      isGranted = true;
    },
    async refusal(signal) {
      if (isGranted) return undefined;
      let said: Awaited<ReturnType<Permission['ask']>>;
      try {
        said = await ask(signal);
      } catch {
        signal.throwIfAborted();
        return 'unproven';
      }
      if (said.kind !== 'found') return said;
      isGranted = said.value.proves;
      return isGranted ? undefined : 'unproven';
    },
  };
}
