import type { RandomAccess } from '../runtime/read-range.ts';
import type { HashedPrefix } from './content-hash.ts';
import type { SharedBytes } from './shared-bytes.ts';

/** How far a transfer is. */
export interface SpoolState {
  /** Bytes from the start of the blob that are here without a gap. */
  contiguous: number;
  /**
   * `abandoned`: it could be kept no longer. What came up to `contiguous` stays readable and may leave, the rest is for
   * each reader to get by itself.
   */
  phase: 'filling' | 'verified' | 'failed' | 'abandoned';
  /** Rises when a transfer starts anew from byte 0, as what came turned out wrong: from then on nobody gets any of it. */
  epoch: number;
  /**
   * Where the first byte is that is another than in the epoch before, or where one of them ends; `undefined`: up to
   * `contiguous` they are the same.
   */
  differsAt?: number | undefined;
}

/** A transfer as its readers see it, wherever it runs: here, in a worker, or in another process. */
export interface SpoolView {
  /** Size of the whole blob, where it is known. */
  readonly total: number | undefined;
  /** Why the transfer failed, or was abandoned; while it is filling again, why it started anew. */
  readonly failure: unknown;
  state(): SpoolState;
  /** Resolves when the state is another than `seen`; rejects when the signal fires. */
  changed(seen: SpoolState, signal: AbortSignal): Promise<void>;
  /** Calls `wake` once when the state is another than `seen`, unless the answer is called before. */
  wait(seen: SpoolState, wake: () => void): () => void;
  /**
   * What is in memory of this epoch from `position` on; nothing while readers hold on to much of what is in the file.
   * It may be another's as soon as this turn is over, unless its memory is held.
   */
  recent(position: number): SharedBytes | undefined;
  /** Before bytes are passed on: resolves when it is their turn; `undefined`: it is. */
  turn(bytes: number): Promise<void> | undefined;
  /**
   * The spool file, for what is in memory no longer; stays readable until its `close()`, also once it is adopted. Each
   * read is of the epoch in which it began.
   *
   * @param position where its reader is, at any time
   * @throws where nobody holds it any more: it is closed then
   */
  open(position?: () => number): RandomAccess;
  /**
   * Of an abandoned transfer: what came, hashed, up to `position` where a reader was there when it was abandoned, else up
   * to `contiguous`. `undefined`: nobody can say.
   */
  prefix(position: number): HashedPrefix | undefined;
}
