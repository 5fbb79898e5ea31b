import type { Buffers } from '../runtime/buffers.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { lendBuffer } from '../runtime/lent-buffer.ts';
import type { HashedPrefix } from './content-hash.ts';
import { releasable } from './hold-back.ts';
import type { SharedMemory } from './shared-bytes.ts';
import type { SpoolState, SpoolView } from './spool-view.ts';

/** How many bytes from the start may leave by now. */
export function visibleBytes(view: SpoolView): number {
  const { contiguous, phase } = view.state();
  if (phase === 'failed') return 0;
  // What is left of an abandoned one could leave before.
  return phase === 'filling' ? releasable(contiguous, view.total) : contiguous;
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
    if (state.phase === 'abandoned') throw view.failure;
    await view.changed(state, signal);
  }
}

/** Resolves when what came in an epoch was found right; rejects when it was not, or nobody knows. */
async function untilVerified(view: SpoolView, epoch: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const state = view.state();
    if (state.epoch !== epoch || state.phase === 'failed' || state.phase === 'abandoned') throw view.failure;
    if (state.phase === 'verified') return;
    await view.changed(state, signal);
  }
}

/** What of a transfer is to be read. */
export interface Followed {
  /** Default: all. */
  part?: ByteRange | undefined;
  /** The size that was announced: where the transfer turns out to have another, following it fails. */
  total?: number | undefined;
  /** Gets by itself what cannot be read here any more, when it is first asked for. Default: following fails then. */
  goOn?: ((rest: Rest) => Bytes) | undefined;
}

/** What of a transfer a reader has to get by itself. */
export interface Rest {
  /** The first byte it has not given. */
  position: number;
  /** The blob before `position`, or the beginning of that, as the reader gave it. Default: nothing of it is known. */
  prefix?: HashedPrefix | undefined;
  /** A longer beginning of the blob than the reader gave, of which it gave its part. */
  witness?: HashedPrefix | undefined;
  /** Resolves when what the reader gave is known to be right; rejects when it is not. Default: the other two tell. */
  confirmed?: (() => Promise<void>) | undefined;
  /** Why it cannot be read here. */
  cause: unknown;
}

/**
 * Reads a transfer while it runs: in step from memory, behind it from the spool file. One reader's slowness touches
 * nobody else. Bytes leave only as far as the hold-back allows; the end only once all is verified. Fails with the
 * transfer's failure.
 *
 * Where the transfer starts anew, it goes on in the new try if what it gave is the same there, and fails if it is not.
 * Where the transfer is abandoned, or its file cannot be read, it goes on by itself.
 */
export function follow(view: SpoolView, buffers: Buffers, { part, total, goOn }: Followed = {}): Bytes {
  // Held from now on, not from the first `next()`: the transfer may end, and its file be adopted, in between.
  const file = view.open(() => position);
  const left = new AbortController();
  const start = part?.from ?? 0;
  let { epoch } = view.state();
  let position = start;
  // Whoever is in step reads no file.
  const buffer = lendBuffer(buffers, 'slow');
  let rest: AsyncIterator<Uint8Array> | undefined;
  let held: SharedMemory | undefined;
  let stopWaiting = () => {};

  async function end(): Promise<void> {
    if (left.signal.aborted) return;
    left.abort();
    stopWaiting();
    letGoOfChunk();
    await (rest ? rest.return?.() : letGo());
  }

  /** The last chunk was the reader's until now. */
  function letGoOfChunk(): void {
    held?.letGo();
    held = undefined;
  }

  function changed(seen: SpoolState): Promise<void> {
    return new Promise((resolve) => {
      const cancel = view.wait(seen, resolve);
      stopWaiting = () => {
        cancel();
        resolve();
      };
    });
  }

  async function letGo(): Promise<void> {
    await buffer.giveBack();
    await file.close();
  }

  async function nextChunk(): Promise<Uint8Array | undefined> {
    for (;;) {
      letGoOfChunk();
      if (left.signal.aborted) return undefined;
      if (rest) return (await rest.next()).value;
      const state = view.state();
      if (state.phase === 'failed' || isOfAnotherSize(state)) throw view.failure;
      if (state.epoch === epoch || holdsGood(state)) {
        epoch = state.epoch;
        const visible = visibleBytes(view);
        const until = part ? Math.min(part.to + 1, visible) : visible;
        const chunk = position < until ? (recentUpTo(until) ?? (await readUpTo(until))) : undefined;
        const turn = chunk && view.turn(chunk.byteLength);
        if (turn !== undefined) await turn;
        // What was read of a try that turned out wrong, or was abandoned before that byte, is not given any more.
        if (rest || view.state().epoch !== epoch || (chunk && position + chunk.byteLength > visibleBytes(view)))
          continue;
        if (chunk) position += chunk.byteLength;
        if (chunk || state.phase === 'verified' || (part && position > part.to)) return chunk;
        if (state.phase === 'abandoned') {
          await goOnAlone(view.failure, view.prefix(position));
          continue;
        }
      } else if (state.phase === 'abandoned') throw view.failure;
      await changed(state);
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

  /** The next bytes that are in memory, up to `until` at most. */
  function recentUpTo(until: number): Uint8Array | undefined {
    const recent = view.recent(position);
    if (!recent) return undefined;
    held = recent.memory;
    held.hold();
    const { bytes } = recent;
    return bytes.byteLength > until - position ? bytes.subarray(0, until - position) : bytes;
  }

  /** The same from the file; `undefined`: another look is needed. */
  async function readUpTo(until: number): Promise<Uint8Array | undefined> {
    try {
      const bytes = await buffer.fill(until - position, (into) => file.read(into, position));
      if (bytes.byteLength > 0) return bytes;
      throw new Error(`the spool file ends at byte ${position}, expected ${until}`);
    } catch (cause) {
      if (view.state().epoch === epoch) await goOnAlone(cause);
      return undefined;
    }
  }

  /** @throws `cause`, where it cannot */
  async function goOnAlone(cause: unknown, prefix?: HashedPrefix): Promise<void> {
    const { phase, contiguous } = view.state();
    if (!goOn || left.signal.aborted || phase === 'failed') throw cause;
    const isKnown = prefix !== undefined || position === start;
    // What it gave can be told right by the hash of more than that, or by what the transfer comes to.
    const witness = isKnown || phase !== 'abandoned' ? undefined : view.prefix(contiguous);
    const confirmed = isKnown || witness ? undefined : () => untilVerified(view, epoch, left.signal);
    rest = goOn({ position, prefix, witness, confirmed, cause })[Symbol.asyncIterator]();
    await letGo();
  }

  async function ended(): Promise<IteratorResult<Uint8Array, undefined>> {
    await end();
    return { done: true, value: undefined };
  }

  // Made once, and no promises of its own: with fifty readers those are most of the garbage.
  const given = (chunk: Uint8Array | undefined) =>
    chunk && !left.signal.aborted ? { done: false as const, value: chunk } : ended();

  async function failed(error: unknown): Promise<IteratorResult<Uint8Array, undefined>> {
    if (left.signal.aborted) return ended();
    await end();
    throw error;
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    next: () => (left.signal.aborted ? ended() : nextChunk().then(given, failed)),
    return: ended,
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
