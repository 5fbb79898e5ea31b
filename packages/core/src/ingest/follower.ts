import type { Buffers } from '../runtime/buffers.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { releasable } from './hold-back.ts';
import type { SpoolView } from './spool-view.ts';

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

/**
 * Reads a transfer while it runs: in step from memory, behind it from the spool file. One reader's slowness touches
 * nobody else. Bytes leave only as far as the hold-back allows; the end only once all is verified. Fails with the
 * transfer's failure.
 *
 * @param part default: all
 */
export function follow(view: SpoolView, buffers: Buffers, part?: ByteRange): Bytes {
  // Held from now on, not from the first `next()`: the transfer may end, and its file be adopted, in between.
  const file = view.open();
  const left = new AbortController();
  let position = part?.from ?? 0;
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
      if (state.phase === 'failed') throw view.failure;
      const verified = state.phase === 'verified';
      const visible = visibleBytes(view);
      const until = part ? Math.min(part.to + 1, visible) : visible;
      if (position < until) return chunkUpTo(until);
      if (verified || (part && position > part.to)) return undefined;
      await view.changed(state, left.signal);
    }
  }

  async function chunkUpTo(until: number): Promise<Uint8Array> {
    let chunk = view.recent(position)?.subarray(0, until - position);
    if (!chunk) {
      buffer ??= buffers.take();
      reading = file.read(buffer.subarray(0, Math.min(buffer.byteLength, until - position)), position);
      chunk = buffer.subarray(0, await reading);
      if (chunk.byteLength === 0) throw new Error(`the spool file ends at byte ${position}, expected ${until}`);
    }
    position += chunk.byteLength;
    return chunk;
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
