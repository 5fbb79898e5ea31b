import type { Digest } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import { bytesOf } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { createRecent } from '../runtime/recent.ts';
import type { BlobStore, OpenBlob } from './blob-store.ts';
import { type StoreEvent, storeFailed } from './events.ts';
import { isIntact } from './is-intact.ts';
import { openBytes } from './open-bytes.ts';

/** A blob of a store. `bytes`: all of it, found right, where memory has it; nobody writes to them. */
export type MaybeKept = OpenBlob & { bytes?: Uint8Array };

/** The blobs of a store, of which those that are small and pulled again and again are in memory. */
export interface KeptBlobs {
  /**
   * The same as the store's: it is asked each time whether the blob is there still. Where it fails, what is in memory is
   * there.
   */
  open(digest: Digest, options: Parameters<BlobStore['open']>[1]): Promise<MaybeKept | undefined>;
  /** Whether {@link keep} should be given a blob that is being read from the store. Asked each time that one is. */
  wants(digest: Digest, size: number): boolean;
  /**
   * Keeps a blob, once it was found to be what its digest says.
   *
   * @param bytes nobody writes to them any more
   * @returns whether it is; `undefined` where nobody wanted to know any more. Never rejects
   */
  keep(digest: Digest, bytes: Uint8Array): Promise<boolean | undefined>;
  /** Opens it from memory for nobody any more, nor keeps what is being looked at. */
  forget(digest: Digest): void;
  close(): void;
}

interface Kept {
  bytes: Uint8Array;
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
/** Blobs at once: each counts as its share at least. */
const mostKept = 16_384;
const mostRead = 4_096;

/**
 * Keeps what is read from the store for the second time within a minute, for as long as it is opened once a minute.
 *
 * @param parts.maxBytes what is kept and looked at at once, also by those who still read what has made way
 */
export function createKeptBlobs(
  store: Pick<BlobStore, 'open'>,
  parts: { maxBytes: number; clock: Pick<Clock, 'monotonic' | 'after'>; observe(event: StoreEvent): void },
): KeptBlobs {
  const { maxBytes, clock, observe } = parts;
  // The one that was opened last is the last.
  const kept = new Map<Digest, Kept>();
  const looking = new Map<Digest, AbortController>();
  /** When a blob was last read from the store. */
  const read = createRecent<Digest, number>(mostRead);
  const buffers = createBuffers(0);
  const least = Math.ceil(maxBytes / mostKept);
  let heldBytes = 0;
  let isClosed = false;
  let stopTimer: (() => void) | undefined;

  const weightOf = ({ byteLength }: Uint8Array) => Math.max(byteLength, least);

  function drop(digest: Digest, blob: Kept): void {
    kept.delete(digest);
    if (blob.readers === 0) heldBytes -= weightOf(blob.bytes);
  }

  function makeRoom(size: number): boolean {
    const isRoom = () => heldBytes + Math.max(size, least) <= maxBytes;
    const idleSince = clock.monotonic() - idleMs;
    for (const [digest, blob] of kept) {
      if (isRoom() || blob.openedAt > idleSince) break;
      drop(digest, blob);
    }
    return isRoom();
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

  function take(digest: Digest, bytes: Uint8Array): void {
    // Of any other array Node makes a Buffer, at each write.
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    kept.set(digest, { bytes: buffer, openedAt: clock.monotonic(), readers: 0 });
    watch();
  }

  function forget(digest: Digest): void {
    looking.get(digest)?.abort();
    looking.delete(digest);
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
      if (blob.readers === 0 && kept.get(digest) !== blob) heldBytes -= weightOf(bytes);
    };
    return { ...openBytes(bytes, closed), bytes };
  }

  return {
    async open(digest, options) {
      if (!kept.has(digest)) return await store.open(digest, options);
      let stored: OpenBlob | undefined;
      try {
        stored = await store.open(digest, { ...options, forBytes: false });
      } catch (error) {
        options.signal.throwIfAborted();
        const blob = kept.get(digest);
        if (!blob) throw error;
        observe(storeFailed('open', digest, error));
        return openKept(digest, blob);
      }
      if (!stored) forget(digest);
      const blob = kept.get(digest);
      // Of another size it is wrong, as whoever reads it will find.
      if (!stored || blob?.bytes.byteLength !== stored.size) return stored;
      await stored.close().catch((error) => observe(storeFailed('close', digest, error)));
      return openKept(digest, blob);
    },
    wants(digest, size) {
      if (size === 0 || size > Math.min(longestBytes, maxBytes) || looking.has(digest)) return false;
      const now = clock.monotonic();
      const before = read.get(digest);
      read.set(digest, now);
      return before !== undefined && now - before <= againWithinMs && makeRoom(size);
    },
    async keep(digest, bytes) {
      const size = bytes.byteLength;
      if (isClosed || looking.has(digest) || kept.has(digest) || !makeRoom(size)) return undefined;
      const controller = new AbortController();
      const { signal } = controller;
      looking.set(digest, controller);
      heldBytes += weightOf(bytes);
      let isRight: boolean | undefined;
      try {
        // A single read may be at fault, and what is kept is read by many.
        const blob = { kind: 'stream', size, body: bytesOf(bytes), close: async () => undefined } as const;
        isRight = await isIntact(blob, digest, { buffers, signal });
      } catch {
        // Nobody wants it any more.
      }
      const isWanted = looking.get(digest) === controller;
      if (isWanted) looking.delete(digest);
      if (isWanted && isRight) take(digest, bytes);
      else heldBytes -= weightOf(bytes);
      return isWanted ? isRight : undefined;
    },
    forget,
    close() {
      isClosed = true;
      stopTimer?.();
      stopTimer = undefined;
      for (const digest of [...looking.keys(), ...kept.keys()]) forget(digest);
    },
  };
}
