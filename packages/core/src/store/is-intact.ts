import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts';
import type { Buffers } from '../runtime/buffers.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { readOpenFile } from '../runtime/read-range.ts';
import { turn } from '../runtime/turn.ts';
import type { OpenBlob } from './blob-store.ts';

/** How a blob is read to be looked at. */
export interface IntactCheck {
  buffers: Buffers;
  signal: AbortSignal;
  /** Called after each piece, and awaited: to go slower. */
  pace?: (bytes: number) => Promise<void>;
}

/** What is hashed in one turn of the event loop; at 500 MB/s that takes 2 ms. */
const mostPerTurn = 1024 * 1024;

/**
 * Whether an open blob is what its digest says. Reads all of it, a piece per turn of the event loop, and leaves closing
 * it to whoever opened it; of a `stream` nothing is left to read.
 *
 * @throws what reading it fails with, also where it gives another number of bytes than its size; the signal's reason
 */
export async function isIntact(blob: OpenBlob, digest: Digest, check: IntactCheck): Promise<boolean> {
  let came = 0;
  const pace = async (bytes: number) => {
    came += bytes;
    await check.pace?.(bytes);
  };
  const isRight = await hasDigest(readAll(blob, check.buffers), digest, { ...check, pace });
  // What ended short was not read: its hash says nothing about what is stored.
  if (came !== blob.size) throw new Error(`${came} bytes came of ${digest}, expected ${blob.size}`);
  return isRight;
}

/**
 * Whether bytes are what a digest says, of which a piece is hashed per turn of the event loop.
 *
 * @throws what reading them fails with; the signal's reason
 */
export async function hasDigest(bytes: Bytes, digest: Digest, check: Omit<IntactCheck, 'buffers'>): Promise<boolean> {
  const hash = createDigestHash(digest);
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.byteLength; at += mostPerTurn) {
      await ownTurn();
      check.signal.throwIfAborted();
      const piece = chunk.subarray(at, at + mostPerTurn);
      hash.update(piece);
      await check.pace?.(piece.byteLength);
    }
  }
  return finishDigest(hash, digestAlgorithm(digest)) === digest;
}

/** The event loop is that of all who hash in this process, so one piece has a turn of it to itself, whoever's it is. */
let lastTurn: Promise<void> = Promise.resolve();
function ownTurn(): Promise<void> {
  lastTurn = lastTurn.then(turn);
  return lastTurn;
}

function readAll(blob: OpenBlob, buffers: Buffers): Bytes {
  if (blob.kind === 'stream') return blob.body;
  return readOpenFile(blob, { from: 0, to: blob.size - 1 }, buffers);
}
