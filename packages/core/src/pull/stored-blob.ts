import type { Digest } from '../oci/digest.ts';
import { type ByteRange, type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import { type Bytes, resumed } from '../runtime/bytes.ts';
import { copied } from '../runtime/copied-bytes.ts';
import { type Piece, readPiece } from '../runtime/read-piece.ts';
import { readOpenFile } from '../runtime/read-range.ts';
import type { BlobLocation } from '../store/blob-store.ts';
import { storeFailed } from '../store/events.ts';
import type { KeptRoom } from '../store/kept-blobs.ts';
import type { OpenedBlob } from '../store/shared-blobs.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';
import { type CheckStored, createCheckStored, type OpenStored } from './check-stored.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/** How a stored blob is to be answered. */
export interface StoredPull {
  ranges: readonly RangeSpec[] | undefined;
  cacheStatus: CacheStatus;
  /** Of the request; asked for only where the rest has to come from elsewhere. */
  signal(): AbortSignal;
  /** Where the rest comes from when the store fails half-way. Default: nowhere. */
  refetch?: () => Promise<BlobAnswer>;
}

/** What of a request matters to {@link StoredBlobs.atHand}. */
export interface AskedBlob {
  target: Target;
  digest: Digest;
  want: 'bytes' | 'descriptor';
}

/** The blobs of the store, as pulls see them: one that fails is as good as one that is not there. */
export interface StoredBlobs {
  /** Opens at once what this repository proved to hold, is open already and need not be looked at. `undefined` says nothing. */
  atHand(asked: AskedBlob): OpenedBlob | undefined;
  open: OpenStored;
  check: CheckStored;
  answer(stored: OpenedBlob, pull: StoredPull): BlobAnswer;
}

export function createStoredBlobs(parts: PullParts): StoredBlobs {
  function failed(operation: string, digest: Digest, error: unknown): void {
    parts.observe(storeFailed(operation, digest, error));
  }

  const open: OpenStored = async (digest, signal, how) => {
    try {
      return await parts.blobs.share(digest, { ...how, signal });
    } catch (error) {
      signal.throwIfAborted();
      failed('open', digest, error);
      return undefined;
    }
  };
  const check = createCheckStored(parts, open);

  function answer(stored: OpenedBlob, pull: StoredPull): BlobAnswer {
    const { digest, blob, bytes } = stored;
    const { ranges, cacheStatus, signal, refetch } = pull;
    const replacements: BlobAnswer[] = [];
    let piece: Piece | undefined;
    let room: KeptRoom | undefined;
    let failure: { error: unknown } | undefined;
    let closed = false;

    function readPart(part: ByteRange | undefined): Bytes {
      if (failure) return failing(failure.error);
      if (blob.kind === 'file') return readOpenFile(blob, part ?? { from: 0, to: blob.size - 1 }, parts.buffers);
      if (part) return reopened(parts, { digest, part, signal: signal() });
      room = parts.blobs.kept.reserve(digest, blob.size);
      return room ? copied(blob.body, blob.size, (copy) => keep(room, copy)) : blob.body;
    }

    /** What was read wrong is looked at, and may go into quarantine. */
    function keep(kept: KeptRoom | undefined, copy: Uint8Array): void {
      void kept?.keep(copy).then((isRight) => {
        if (isRight === false) void check.doubt(digest);
      });
    }

    /** A client that cannot be sent elsewhere is served from here. */
    async function located(location: BlobLocation): Promise<string | undefined> {
      try {
        return await location.url();
      } catch (error) {
        failed('locate', digest, error);
        return undefined;
      }
    }

    async function goOn(rest: ByteRange, error: unknown): Promise<Bytes> {
      signal().throwIfAborted();
      failed('read', digest, error);
      if (!refetch) throw error;
      const replacement = await refetch();
      replacements.push(replacement);
      if (closed) await replacement.close();
      return replacement.read(rest);
    }

    const location = blob.kind === 'stream' && parts.verifyOnRead !== 'first' ? blob.elsewhere : undefined;
    return {
      digest,
      size: blob.size,
      cacheStatus,
      ...(location && { elsewhere: () => located(location) }),
      ...(ranges?.length && { parts: satisfiableRanges(ranges, blob.size) }),
      read(part) {
        const { from, to } = part ?? { from: 0, to: blob.size - 1 };
        return resumed(readPart(part), to - from + 1, (done, error) => goOn({ from: from + done, to }, error));
      },
      async piece() {
        if (blob.kind !== 'file' || closed) return undefined;
        if (bytes) return bytes;
        try {
          piece = await readPiece(blob, blob.size, parts.buffers);
        } catch (error) {
          // Told, and made up for, where it is read.
          failure = { error };
        }
        if (closed) piece?.letGo();
        if (closed || !piece) return undefined;
        const kept = parts.blobs.kept.reserve(digest, blob.size);
        if (kept) keep(kept, new Uint8Array(piece.bytes));
        return piece.bytes;
      },
      async close() {
        if (closed) return;
        closed = true;
        piece?.letGo();
        room?.drop();
        await Promise.all([blob, ...replacements].map((opened) => opened.close()));
      },
    };
  }

  function atHand({ target, digest, want }: AskedBlob): OpenedBlob | undefined {
    const opened = parts.blobs.held(digest);
    if (!opened) return undefined;
    const { size: told } = parts.links.lookup(target.place, 'blob', digest)() ?? {};
    // A size that was not told, or is another, has to be looked into.
    if (told === opened.blob.size && check.isSettled(opened, { told, forBytes: want === 'bytes' })) return opened;
    void opened.blob.close();
    return undefined;
  }

  return {
    atHand,
    open,
    check,
    answer,
  };
}

function failing(error: unknown): Bytes {
  return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }) };
}

/** A part of a blob that is no local file: opened anew for it. */
async function* reopened(
  parts: PullParts,
  { digest, part, signal }: { digest: Digest; part: ByteRange; signal: AbortSignal },
): Bytes & AsyncGenerator<Uint8Array, void, undefined> {
  const blob = await parts.blobs.open(digest, { range: part, signal });
  if (!blob) throw new Error(`${digest} has left the store`);
  try {
    yield* blob.kind === 'file' ? readOpenFile(blob, part, parts.buffers) : blob.body;
  } finally {
    await blob.close();
  }
}
