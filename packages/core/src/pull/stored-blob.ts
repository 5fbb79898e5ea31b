import { LRUCache } from 'lru-cache';
import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts';
import { type ByteRange, type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import { type Bytes, resumed } from '../runtime/bytes.ts';
import { createFlights } from '../runtime/collapse.ts';
import { readRange } from '../runtime/read-range.ts';
import type { OpenBlob } from '../store/blob-store.ts';
import { storeFailed } from '../store/events.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';
import type { PullParts } from './pull-parts.ts';

/** A blob of the store, opened. */
export interface StoredBlob {
  digest: Digest;
  blob: OpenBlob;
  /** `clock.now()` when it was opened. */
  openedAt: number;
}

/** How a stored blob is to be answered. */
export interface StoredPull {
  ranges: readonly RangeSpec[] | undefined;
  cacheStatus: CacheStatus;
  signal: AbortSignal;
  /** Where the rest comes from when the store fails half-way. Default: nowhere. */
  refetch?: () => Promise<BlobAnswer>;
}

/** The blobs of the store, as pulls see them: one that fails is as good as one that is not there. */
export interface StoredBlobs {
  open(digest: Digest, signal: AbortSignal): Promise<StoredBlob | undefined>;
  /**
   * The same blob where it is what its digest says. That is looked at where it has another size than a repository told,
   * either of which may be wrong. One that is not is removed, to be fetched again.
   */
  check(stored: StoredBlob, size: number | undefined, signal: AbortSignal): Promise<StoredBlob | undefined>;
  answer(stored: StoredBlob, pull: StoredPull): BlobAnswer;
}

const mostVerdicts = 10_000;

export function createStoredBlobs(parts: PullParts): StoredBlobs {
  const checks = createFlights<boolean>();
  /** Those found right, by digest and size: it is the sizes told that are wrong, by whatever repository. */
  const right = new LRUCache<string, true>({ max: mostVerdicts });

  function failed(operation: string, digest: Digest, error: unknown): void {
    parts.observe(storeFailed(operation, digest, error));
  }

  async function open(digest: Digest, signal: AbortSignal): Promise<StoredBlob | undefined> {
    const openedAt = parts.clock.now();
    try {
      const blob = await parts.blobs.open(digest, { signal });
      return blob && { digest, blob, openedAt };
    } catch (error) {
      signal.throwIfAborted();
      failed('open', digest, error);
      return undefined;
    }
  }

  async function looksRight({ digest, blob }: StoredBlob, signal: AbortSignal): Promise<boolean> {
    const hash = createDigestHash(digest);
    for await (const chunk of readAll(parts, blob)) {
      signal.throwIfAborted();
      hash.update(chunk);
    }
    return finishDigest(hash, digestAlgorithm(digest)) === digest;
  }

  /** Of many that find it wrong, one removes it; what was stored anew meanwhile stays. */
  async function verify(stored: StoredBlob, signal: AbortSignal): Promise<boolean> {
    if (await looksRight(stored, signal)) return true;
    const { digest, blob, openedAt } = stored;
    failed('open', digest, new Error(`the stored blob of ${blob.size} bytes is not what its digest says; removed`));
    await parts.blobs.delete(digest, { unlessStoredAfter: openedAt, signal });
    return false;
  }

  async function check(
    stored: StoredBlob,
    size: number | undefined,
    signal: AbortSignal,
  ): Promise<StoredBlob | undefined> {
    const { digest, blob } = stored;
    const verdict = `${digest} ${blob.size}`;
    if (size === undefined || blob.size === size || right.has(verdict)) return stored;
    try {
      const isRight = await checks.join(verdict, (all) => verify(stored, all), signal);
      if (isRight) right.set(verdict, true);
      // Looking at it may have used it up.
      if (isRight) return blob.kind === 'file' ? stored : await open(digest, signal);
    } catch (error) {
      signal.throwIfAborted();
      failed('read', digest, error);
    } finally {
      if (blob.kind === 'stream') await blob.close();
    }
    await blob.close();
    return undefined;
  }

  function answer({ digest, blob }: StoredBlob, pull: StoredPull): BlobAnswer {
    const { ranges, cacheStatus, signal, refetch } = pull;
    const replacements: BlobAnswer[] = [];
    let closed = false;

    function readPart(part: ByteRange | undefined): Bytes {
      if (blob.kind === 'file') return readFile(parts, blob, part ?? { from: 0, to: blob.size - 1 });
      return part ? reopened(parts, { digest, part, signal }) : blob.body;
    }

    async function goOn(rest: ByteRange, error: unknown): Promise<Bytes> {
      signal.throwIfAborted();
      failed('read', digest, error);
      if (!refetch) throw error;
      const replacement = await refetch();
      replacements.push(replacement);
      if (closed) await replacement.close();
      return replacement.read(rest);
    }

    return {
      digest,
      size: blob.size,
      cacheStatus,
      ...(ranges?.length && { parts: satisfiableRanges(ranges, blob.size) }),
      read(part) {
        const { from, to } = part ?? { from: 0, to: blob.size - 1 };
        return resumed(readPart(part), to - from + 1, (done, error) => goOn({ from: from + done, to }, error));
      },
      async close() {
        if (closed) return;
        closed = true;
        await Promise.all([blob, ...replacements].map((opened) => opened.close()));
      },
    };
  }

  return { open, check, answer };
}

/** Several readers share the one open blob; whoever opened it closes it. */
function readFile(parts: PullParts, blob: Extract<OpenBlob, { kind: 'file' }>, part: ByteRange): Bytes {
  return readRange({ read: blob.read, close: async () => undefined }, part, parts.buffers);
}

function readAll(parts: PullParts, blob: OpenBlob): Bytes {
  return blob.kind === 'file' ? readFile(parts, blob, { from: 0, to: blob.size - 1 }) : blob.body;
}

/** A part of a blob that is no local file: opened anew for it. */
async function* reopened(
  parts: PullParts,
  { digest, part, signal }: { digest: Digest; part: ByteRange; signal: AbortSignal },
): Bytes & AsyncGenerator<Uint8Array, void, undefined> {
  const blob = await parts.blobs.open(digest, { range: part, signal });
  if (!blob) throw new Error(`${digest} has left the store`);
  try {
    yield* blob.kind === 'file' ? readFile(parts, blob, part) : blob.body;
  } finally {
    await blob.close();
  }
}
