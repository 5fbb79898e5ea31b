import { LRUCache } from 'lru-cache';
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts';
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { Clock } from '../runtime/clock.ts';
import { abortable, createFlights } from '../runtime/collapse.ts';
import { longestText } from '../runtime/kept-texts.ts';
import { createRecent } from '../runtime/recent.ts';
import { createRunning } from '../runtime/running.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import { putAside } from '../store/put-aside.ts';
import { readManifest } from './manifest-bytes.ts';

/** Manifest bytes by digest, verbatim: in memory first, the blob store behind it. */
export interface Manifests {
  /** The bytes, where memory has them, and the store as well. `undefined` says nothing: {@link load} may find them. */
  held(digest: Digest): Uint8Array | undefined;
  /** The bytes, where memory has them, be they in the store yet or not: for no answer. */
  peek(digest: Digest): Uint8Array | undefined;
  /**
   * The bytes, verified; `undefined` when they are not here or cannot be read. Those that are being stored for the first
   * time are waited for, until the store has them or has failed.
   */
  load(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** Whether the bytes seem to be here: nothing is read. */
  has(digest: Digest, signal: AbortSignal): Promise<boolean>;
  /** Keeps verified bytes, which are in the store when the promise resolves. Never rejects. */
  store(digest: Digest, bytes: Uint8Array): Promise<void>;
  /** Lets memory forget the bytes: the store has them no more. */
  forget(digest: Digest): void;
  /** Lets memory forget all bytes. */
  forgetAll(): void;
  /**
   * What the latest few manifests that passed through here say of a blob's size, the latest first. Any repository's manifest
   * may say anything: one does not take the place of another's word.
   */
  sizesOf(blob: Digest): readonly ToldSize[];
  /** Resolves when none is being read or stored. */
  settled(): Promise<void>;
}

/** A blob's size, and the manifest that tells it. */
export interface ToldSize {
  size: number;
  manifest: Digest;
}

/** What {@link createManifests} works with. */
export interface ManifestsParts {
  blobs: BlobStore;
  /** Bytes of manifests kept in memory. */
  maxBytes: number;
  /** The longest manifest that any upstream may give now, in bytes: what is longer is a blob, and is never loaded. */
  maxManifestBytes(): number;
  clock: Clock;
  observe(event: StoreEvent): void;
}

const mostSizes = 20_000;
const mostOfBlob = 4;

export function createManifests(parts: ManifestsParts): Manifests {
  const { blobs, maxBytes, maxManifestBytes, clock, observe } = parts;
  const memory = new LRUCache<Digest, Uint8Array>({
    // It takes no 0; of one byte nothing can be kept either.
    maxSize: Math.max(maxBytes, 1),
    // A short one may be kept as a text, too.
    sizeCalculation: ({ byteLength }) => (byteLength <= longestText ? 2 * byteLength : byteLength) || 1,
  });
  const sizes = createRecent<Digest, readonly ToldSize[]>(mostSizes, {
    maxBytes: mostSizes,
    bytesOf: ({ length }) => length,
  });
  const buffers = createBuffers(0);
  const running = createRunning();
  const flights = createFlights<Uint8Array | undefined>(running);
  // What was answered once is to be answered again after a crash, so nobody is given what the store does not have yet.
  const storing = new Map<Digest, Promise<void>>();

  function keep(digest: Digest, bytes: Uint8Array): void {
    memory.set(digest, bytes);
    for (const blob of parsed(bytes)?.blobs ?? []) {
      const others = (sizes.get(blob.digest) ?? []).filter(({ manifest }) => manifest !== digest);
      sizes.set(blob.digest, [{ size: blob.size, manifest: digest }, ...others].slice(0, mostOfBlob));
    }
  }

  function failed(operation: string, digest: Digest, error: unknown): void {
    observe(storeFailed(operation, digest, error));
  }

  async function loadAnew(digest: Digest, signal: AbortSignal, isSecond = false): Promise<Uint8Array | undefined> {
    const openedAt = clock.now();
    try {
      const bytes = await readManifest(blobs, digest, { maxBytes: maxManifestBytes(), buffers, signal });
      if (!bytes) return undefined;
      if (digestOf(bytes, digestAlgorithm(digest)) === digest) {
        keep(digest, bytes);
        return bytes;
      }
      // A single read may be at fault itself.
      if (!isSecond) return await loadAnew(digest, signal, true);
      const flawed = { digest, size: bytes.byteLength, reason: 'wrong-bytes', storedUntil: openedAt } as const;
      await putAside(parts, flawed, signal);
    } catch (error) {
      signal.throwIfAborted();
      failed('open', digest, error);
    }
    return undefined;
  }

  async function put(digest: Digest, bytes: Uint8Array): Promise<void> {
    const { signal } = new AbortController();
    try {
      await blobs.put({ digest, bytes, signal });
    } catch (error) {
      failed('put', digest, error);
    }
  }

  return {
    held: (digest) => (storing.size > 0 && storing.has(digest) ? undefined : memory.get(digest)),
    peek: (digest) => memory.peek(digest),
    async load(digest, signal) {
      const stored = storing.get(digest);
      if (stored !== undefined) await abortable(stored, signal);
      return memory.get(digest) ?? (await flights.join(digest, (joint) => loadAnew(digest, joint), signal));
    },
    async has(digest, signal) {
      if (memory.has(digest)) return true;
      try {
        const blob = await blobs.open(digest, { forBytes: false, signal });
        await blob?.close();
        return blob !== undefined && blob.size <= maxManifestBytes();
      } catch (error) {
        signal.throwIfAborted();
        failed('open', digest, error);
        return false;
      }
    },
    async store(digest, bytes) {
      const isNew = !memory.has(digest);
      keep(digest, bytes);
      const stored = put(digest, bytes);
      running.add(stored);
      // What others were given before is not taken from them.
      if (isNew) storing.set(digest, stored);
      await stored;
      if (storing.get(digest) === stored) storing.delete(digest);
    },
    forget: (digest) => void memory.delete(digest),
    forgetAll: () => memory.clear(),
    sizesOf: (blob) => sizes.get(blob) ?? [],
    settled: running.ended,
  };
}

function parsed(bytes: Uint8Array): ParsedManifest | undefined {
  try {
    return parseManifest(bytes);
  } catch {
    // Stored bytes were verified when they came; what an older release took and this one would not is still served.
    return undefined;
  }
}
