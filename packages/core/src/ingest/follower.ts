import type { Buffers } from '../runtime/buffers.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { releasable } from './hold-back.ts';
import type { SpoolState, SpoolView } from './spool-view.ts';

/** How many bytes from the start may leave by now. */
export function visibleBytes(view: SpoolView): number {
  const { contiguous, phase } = view.state();
  return phase === 'verified' ? contiguous : releasable(contiguous, view.total);
}

/**
 * Resolves when the byte at `position` may leave, or none more will come.
 *
 * @throws the transfer's failure, the signal's reason
 */
export async function untilReadable(view: SpoolView, position: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const state = view.state();
    if (state.phase === 'failed') throw view.failure;
    if (state.phase === 'verified' || visibleBytes(view) > position) return;
    await view.changed(state, signal);
  }
}

/** What of a transfer is to be read. */
export interface Followed {
  /** Default: all. */
  part?: ByteRange | undefined;
  /** The size that was announced: where the transfer turns out to have another, following it fails. */
  total?: number | undefined;
}

/**
 * Reads a transfer while it runs: in step from memory, behind it from the spool file. One reader's slowness touches
 * nobody else. Bytes leave only as far as the hold-back allows; the end only once all is verified. Fails with the
 * transfer's failure.
 *
 * Where the transfer starts anew, it goes on in the new try if what it gave is the same there, and fails if it is not.
 */
export function follow(view: SpoolView, buffers: Buffers, { part, total }: Followed = {}): Bytes {
  // Held from now on, not from the first `next()`: the transfer may end, and its file be adopted, in between.
  const file = view.open();
  const left = new AbortController();
  const start = part?.from ?? 0;
  let { epoch } = view.state();
  let position = start;
  let buffer: Uint8Array | undefined;
  let reading: Promise<number> | undefined;

  async function end(): Promise<void> {
    if (left.signal.aborted) return;
    left.abort();
    await reading?.catch(() => undefined);
    if (buffer) buffers.give(buffer);
    buffer = undefined;
    await file.close();
  }

  async function nextChunk(): Promise<Uint8Array | undefined> {
    for (;;) {
      const state = view.state();
      if (state.phase === 'failed' || isOfAnotherSize(state)) throw view.failure;
      if (state.epoch === epoch || holdsGood(state)) {
        epoch = state.epoch;
        const visible = visibleBytes(view);
        const until = part ? Math.min(part.to + 1, visible) : visible;
        const chunk = position < until ? await chunkUpTo(until) : undefined;
        // What was read of a try that turned out wrong meanwhile is not given any more.
        if (view.state().epoch !== epoch) continue;
        if (chunk) position += chunk.byteLength;
        if (chunk || state.phase === 'verified' || (part && position > part.to)) return chunk;
      }
      await view.changed(state, left.signal);
    }
  }

  function isOfAnotherSize({ epoch: now, phase, contiguous }: SpoolState): boolean {
    if (now === 0 || total === undefined) return false;
    return total !== (phase === 'verified' ? contiguous : (view.total ?? total));
  }

  /**
   * Whether what was given is known to be the same in the epoch that is now.
   *
   * @throws why the transfer started anew, where it is not the same
   */
  function holdsGood({ contiguous, differsAt }: SpoolState): boolean {
    if (position === start) return true;
    if (differsAt !== undefined && position > differsAt) throw view.failure;
    return position <= contiguous;
  }

  async function chunkUpTo(until: number): Promise<Uint8Array> {
    const chunk = view.recent(position)?.subarray(0, until - position);
    if (chunk) return chunk;
    buffer ??= buffers.take();
    const into = buffer.subarray(0, Math.min(buffer.byteLength, until - position));
    reading = file.read(into, position);
    const length = await reading;
    if (length === 0) throw new Error(`the spool file ends at byte ${position}, expected ${until}`);
    return into.subarray(0, length);
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      if (left.signal.aborted) return { done: true, value: undefined };
      try {
        const chunk = await nextChunk();
        if (chunk && !left.signal.aborted) return { done: false, value: chunk };
      } catch (error) {
        if (!left.signal.aborted) {
          await end();
          throw error;
        }
      }
      await end();
      return { done: true, value: undefined };
    },
    async return() {
      await end();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
