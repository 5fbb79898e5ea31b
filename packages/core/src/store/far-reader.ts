import type { ByteRange } from '../runtime/byte-range.ts';
import type { Clock } from '../runtime/clock.ts';
import { orLate } from '../runtime/or-late.ts';
import type { OpenBlob } from './blob-store.ts';

/** Reads a blob of a distant store at any position. */
export interface FarReader {
  /**
   * Fills `part`, or as much of it as comes soon. @returns how many bytes, at least one
   *
   * @throws what the store throws, also where it has less
   */
  read(part: Uint8Array, position: number): Promise<number>;
  /** Never rejects. */
  close(): Promise<void>;
}

type Chunk = IteratorResult<Uint8Array>;

/** A part that is being read from its beginning. */
interface Stream {
  position: number;
  rest: Uint8Array;
  chunks: AsyncIterator<Uint8Array> | undefined;
  /** The chunk that was asked for and has not come. */
  coming: Promise<Chunk> | undefined;
  blob: OpenBlob;
  end: number;
}

/** Asked for at a time: enough to make little of the way there, and not so much that those who leave early cost a lot. */
const windowBytes = 8 * 1024 * 1024;

/** Of several readers that read on from where they are, each has a part of its own. */
const mostIdle = 4;

/** Who waited for so long gets what has come: a slow store is no reason to run into the deadline of a read. */
export const longestReadMs = 1_000;

/** @param open opens a part */
export function createFarReader(
  open: (part: ByteRange) => Promise<OpenBlob>,
  { size, clock }: { size: number; clock: Clock },
): FarReader {
  let idle: Stream[] = [];
  let isClosed = false;

  async function begin(position: number): Promise<Stream> {
    const end = Math.min(position + windowBytes, size);
    const blob = await open({ from: position, to: end - 1 });
    const chunks = blob.kind === 'stream' ? blob.body[Symbol.asyncIterator]() : undefined;
    return { position, rest: new Uint8Array(), chunks, coming: undefined, blob, end };
  }

  /** @returns how many bytes, 0 at the end; `undefined`: none came within `ms`, and the next read may find them */
  async function some(stream: Stream, into: Uint8Array, ms: number): Promise<number | undefined> {
    if (stream.blob.kind === 'file') return await stream.blob.read(into, stream.position);
    while (stream.rest.byteLength === 0) {
      if (!stream.chunks) return 0;
      stream.coming ??= stream.chunks.next();
      const next = await orLate<Chunk | undefined>(stream.coming, { clock, ms, late: () => undefined });
      if (!next) return undefined;
      stream.coming = undefined;
      if (next.done) return 0;
      stream.rest = next.value;
    }
    const length = Math.min(stream.rest.byteLength, into.byteLength);
    into.set(stream.rest.subarray(0, length));
    stream.rest = stream.rest.subarray(length);
    return length;
  }

  async function leave({ blob }: Stream): Promise<void> {
    await blob.close().catch(() => undefined);
  }

  return {
    async read(part, position) {
      let stream = idle.find((one) => one.position === position);
      if (stream) idle = idle.filter((one) => one !== stream);
      const until = clock.monotonic() + longestReadMs;
      let filled = 0;
      let longestMs = longestReadMs;
      try {
        while (filled < part.byteLength && (filled === 0 || clock.monotonic() < until)) {
          stream ??= await begin(position + filled);
          const into = part.subarray(filled, filled + stream.end - stream.position);
          const length = await some(stream, into, filled > 0 ? until - clock.monotonic() : longestMs);
          if (length === undefined && filled > 0) break;
          if (length === undefined) {
            // Its connection may be the only one that stands still. The one after it is waited for.
            longestMs = Number.POSITIVE_INFINITY;
            void leave(stream);
            stream = undefined;
            continue;
          }
          if (length === 0) throw new Error(`the store has fewer than ${size} bytes of it`);
          filled += length;
          stream.position += length;
          if (stream.position < stream.end) continue;
          await leave(stream);
          stream = undefined;
        }
      } catch (error) {
        if (stream) await leave(stream);
        throw error;
      }
      if (stream) idle.push(stream);
      while (idle.length > (isClosed ? 0 : mostIdle)) await leave(idle.shift() as Stream);
      return filled;
    },
    async close() {
      isClosed = true;
      const left = idle;
      idle = [];
      await Promise.all(left.map(leave));
    },
  };
}
