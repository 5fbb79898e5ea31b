import type { Digest } from '../oci/digest.ts';
import { bytesOf } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { orLate } from '../runtime/or-late.ts';
import { createRecent } from '../runtime/recent.ts';
import type { BlobStore, OpenBlob } from './blob-store.ts';
import { type StoreEvent, storeFailed } from './events.ts';
import { hasDigest } from './is-intact.ts';
import { openBytes } from './open-bytes.ts';

/** A blob of a store. `bytes`: all of it, found right, where memory has it; many read them, and nobody writes to them. */
export type MaybeKept = OpenBlob & { bytes?: Uint8Array };

/** Room in memory for a blob that is being read from the store. */
export interface KeptRoom {
  /**
   * Keeps the blob, once it was found to be what its digest says.
   *
   * @param bytes nobody writes to them any more
   * @returns whether it is; `undefined` where nobody wants to know any more. Never rejects
   */
  keep(bytes: Uint8Array): Promise<boolean | undefined>;
  /** Gives the room back, where it was not read to its end. */
  drop(): void;
}

/** The blobs of a store, of which those that are small and pulled again and again are in memory. */
export interface KeptBlobs {
  /**
   * The same as the store's: it is asked each time whether the blob is there still. Where it fails, or takes its time, what
   * is in memory is there.
   */
  open(digest: Digest, options: Parameters<BlobStore['open']>[1]): Promise<MaybeKept | undefined>;
  /** Makes room for a blob that is to be kept, or none. Called each time that one is read from the store. */
  reserve(digest: Digest, size: number): KeptRoom | undefined;
  /** Opens it from memory for nobody any more, nor keeps what is being read. */
  forget(digest: Digest): void;
  /** Resolves when nothing of the store is open. */
  close(): Promise<void>;
}

interface Kept {
  bytes: Uint8Array;
  weight: number;
  /** By `clock.monotonic()`. */
  openedAt: number;
  readers: number;
}

/** What is longer is read while what came before is on its way, and gains little here. */
const longestBytes = 1024 * 1024;
/** Most blobs are read once. */
const againWithinMs = 60_000;
/** Who was not opened for so long makes way. Not sooner: of more than there is room for, some stay rather than all take turns. */
const idleMs = 10_000;
/** Who was not opened for so long goes. */
const unusedMs = 60_000;
/** How long the store is waited for, of what is in memory. */
const askWithinMs = 250;
/** Blobs at once: each counts as its share at least. */
const mostKept = 16_384;
const mostRead = 4_096;

/**
 * Keeps what is read from the store for the second time within a minute, for as long as it is opened once a minute.
 *
 * @param parts.maxBytes what is kept and has room at once, also of those who still read what has made way
 */
export function createKeptBlobs(
  store: Pick<BlobStore, 'open'>,
  parts: { maxBytes: number; clock: Clock; observe(event: StoreEvent): void },
): KeptBlobs {
  const { maxBytes, clock, observe } = parts;
  // The one that was opened last is the last.
  const kept = new Map<Digest, Kept>();
  /** Those that are read, or looked at. */
  const coming = new Map<Digest, AbortController>();
  /** When a blob was last read from the store. */
  const read = createRecent<Digest, number>(mostRead);
  const ending = new Set<Promise<void>>();
  const least = Math.ceil(maxBytes / mostKept);
  let heldBytes = 0;
  let isClosed = false;
  let stopTimer: (() => void) | undefined;

  function drop(digest: Digest, blob: Kept): void {
    kept.delete(digest);
    if (blob.readers === 0) heldBytes -= blob.weight;
  }

  function makeRoom(weight: number): boolean {
    const idleSince = clock.monotonic() - idleMs;
    for (const [digest, blob] of kept) {
      if (heldBytes + weight <= maxBytes || blob.openedAt > idleSince) break;
      drop(digest, blob);
    }
    return heldBytes + weight <= maxBytes;
  }

  function sweep(): void {
    stopTimer = undefined;
    const unusedSince = clock.monotonic() - unusedMs;
    for (const [digest, blob] of kept) {
      if (blob.openedAt > unusedSince) break;
      drop(digest, blob);
    }
    watch();
  }

  function watch(): void {
    if (kept.size > 0) stopTimer ??= clock.after(idleMs, sweep);
  }

  function forget(digest: Digest): void {
    coming.get(digest)?.abort();
    coming.delete(digest);
    const blob = kept.get(digest);
    if (blob) drop(digest, blob);
  }

  function openKept(digest: Digest, blob: Kept): MaybeKept {
    const { bytes } = blob;
    blob.openedAt = clock.monotonic();
    blob.readers++;
    kept.delete(digest);
    kept.set(digest, blob);
    const closed = () => {
      blob.readers--;
      if (blob.readers === 0 && kept.get(digest) !== blob) heldBytes -= blob.weight;
    };
    return { ...openBytes(bytes, closed), bytes };
  }

  /** Of what nobody reads no request waits for the end. */
  function letGo(digest: Digest, stored: OpenBlob): void {
    const closing = stored.close().catch((error) => observe(storeFailed('close', digest, error)));
    ending.add(closing);
    void closing.then(() => ending.delete(closing));
  }

  async function open(digest: Digest, options: Parameters<BlobStore['open']>[1]): Promise<MaybeKept | undefined> {
    if (!kept.has(digest)) return await store.open(digest, options);
    const asking = store.open(digest, { ...options, forBytes: false });
    let stored: OpenBlob | 'late' | undefined;
    try {
      stored = await orLate<typeof stored>(asking, { clock, ms: askWithinMs, late: () => 'late' });
    } catch (error) {
      options.signal.throwIfAborted();
      const blob = kept.get(digest);
      if (!blob) throw error;
      observe(storeFailed('open', digest, error));
      return openKept(digest, blob);
    }
    const blob = kept.get(digest);
    if (stored === 'late') {
      if (!blob) return await asking;
      void asking.then(
        (opened) => (opened ? letGo(digest, opened) : forget(digest)),
        () => undefined,
      );
      return openKept(digest, blob);
    }
    if (stored && blob?.bytes.byteLength === stored.size) {
      letGo(digest, stored);
      return openKept(digest, blob);
    }
    // Of another size it is wrong, as whoever reads it will find.
    forget(digest);
    return stored;
  }

  function reserve(digest: Digest, size: number): KeptRoom | undefined {
    if (size === 0 || size > longestBytes || isClosed || coming.has(digest) || kept.has(digest)) return undefined;
    const now = clock.monotonic();
    const before = read.get(digest);
    read.set(digest, now);
    const weight = Math.max(size, least);
    if (before === undefined || now - before > againWithinMs || !makeRoom(weight)) return undefined;
    const controller = new AbortController();
    coming.set(digest, controller);
    heldBytes += weight;
    let isOver = false;

    /** @returns whether it was wanted still */
    function end(): boolean {
      isOver = true;
      if (coming.get(digest) !== controller) return false;
      return coming.delete(digest);
    }

    return {
      async keep(bytes) {
        if (isOver) return undefined;
        isOver = true;
        // A single read may be at fault, and what is kept is read by many.
        const isRight = await hasDigest(bytesOf(bytes), digest, controller).catch(() => undefined);
        const isWanted = end();
        if (isWanted && isRight) {
          // Of any other array Node makes a Buffer, at each write.
          const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
          kept.set(digest, { bytes: buffer, weight, openedAt: clock.monotonic(), readers: 0 });
          watch();
        } else heldBytes -= weight;
        return isWanted ? isRight : undefined;
      },
      drop() {
        if (isOver) return;
        end();
        heldBytes -= weight;
      },
    };
  }

  return {
    open,
    reserve,
    forget,
    async close() {
      isClosed = true;
      stopTimer?.();
      stopTimer = undefined;
      for (const digest of [...coming.keys(), ...kept.keys()]) forget(digest);
      await Promise.all(ending);
    },
  };
}
