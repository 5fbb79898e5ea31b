import { verifiedStream } from '../ingest/verified-stream.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import { type Bytes, begun, discard } from '../runtime/bytes.ts';
import type { BlobAnswer } from './answer.ts';
import { heldParts } from './held-parts.ts';
import { fetchFor, type PassedPull, secondChance } from './passed-blob.ts';
import type { PullParts } from './pull-parts.ts';

/** A whole blob on its way, of which parts are read one after the other. */
export interface Pass {
  /** Where it is: nothing before can be read any more. */
  position(): number;
  /** @param last whether its end is held back until the whole was found right */
  read(part: ByteRange, last: boolean): AsyncGenerator<Uint8Array, void, undefined>;
  close(): Promise<void>;
}

/**
 * Parts of a blob that cannot be kept here, cut out of the whole as it passes: the end of the last one leaves only when
 * the digest was found right (SEMANTICS 18), so that parts of a wrong blob never look complete. Those
 * that one pass cannot give in their order would each cost a download of the whole: see {@link heldParts}.
 */
export async function verifiedParts(
  parts: PullParts,
  request: PassedPull,
  wanted: { size: number; ranges: readonly [ByteRange, ...ByteRange[]] },
): Promise<BlobAnswer> {
  const { target, digest } = request;
  const { size, ranges } = wanted;
  const inOrder = ranges.slice(1).every(({ from }, i) => from > (ranges[i]?.to ?? 0));
  if (!inOrder) return await heldParts(parts, request, size);
  const left = new AbortController();
  const signal = AbortSignal.any([request.signal, left.signal]);
  let pass: Pass | undefined;
  // What is small is held back whole: that it is wrong is known before the status.
  let first: Bytes | undefined = await secondChance(async () => {
    pass = await open();
    return await begun(pass.read(ranges[0], ranges.length === 1));
  });

  async function open(): Promise<Pass> {
    await pass?.close();
    const { total, body } = await fetchFor(parts, request, { signal });
    return createPass(verifiedStream(body, { upstream: target.place.upstream, digest, total }));
  }

  return {
    digest,
    size,
    cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200 },
    parts: ranges,
    read(part = ranges[0]) {
      const body = first ?? (pass as Pass).read(part, part.from === ranges.at(-1)?.from);
      first = undefined;
      return body;
    },
    async close() {
      left.abort();
      if (first) await discard(first);
      await pass?.close();
    },
  };
}

/** The whole of a blob that is passed on, so that any one part of it can be read, too. */
export function readableInPart(whole: BlobAnswer): BlobAnswer {
  return { ...whole, read: (part) => (part ? createPass(whole.read()).read(part, true) : whole.read()) };
}

/** @param from where the body begins */
export function createPass(body: Bytes, from = 0): Pass {
  const chunks = body[Symbol.asyncIterator]();
  let position = from;
  let rest: Uint8Array = new Uint8Array();

  async function more(): Promise<boolean> {
    const { done, value } = await chunks.next();
    rest = done ? new Uint8Array() : value;
    return !done;
  }

  return {
    position: () => position,
    async *read({ from, to }, last) {
      while (position <= to && (rest.byteLength > 0 || (await more()))) {
        const taken = rest.subarray(0, to + 1 - position);
        const part = taken.subarray(Math.max(from - position, 0));
        position += taken.byteLength;
        rest = rest.subarray(taken.byteLength);
        if (last && position > to) {
          const held = Uint8Array.from(part);
          while (await more()) position += rest.byteLength;
          yield held;
        } else if (part.byteLength > 0) yield part;
      }
    },
    async close() {
      await discard({ [Symbol.asyncIterator]: () => chunks });
    },
  };
}
