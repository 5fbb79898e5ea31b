import type { Digest } from '../oci/digest.ts';
import type { Buffers } from '../runtime/buffers.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { BlobStore, StoredBlob } from './blob-store.ts';
import { type BlobFlaw, type StoreEvent, storeFailed } from './events.ts';
import { isIntact } from './is-intact.ts';
import { putAside } from './put-aside.ts';

/** A stored blob that was found of no use. */
export interface WrongBlob {
  digest: Digest;
  size: number;
  reason: BlobFlaw;
  /** Whether it was taken out of sight. Else the store refused, or the blob was stored anew meanwhile. */
  quarantined: boolean;
}

/** What a scrub found in the blob store, so far or in all. */
export interface BlobsReport {
  /** Blobs that were read, whatever came of it. */
  checked: number;
  /** Bytes of those that are right. */
  bytes: number;
  /** How many are wrong or unreadable. */
  flawed: number;
  /** The first 1,000 of those. */
  wrong: WrongBlob[];
}

/** What {@link scrubBlobs} works with. */
export interface ScrubBlobsParts {
  blobs: BlobStore;
  buffers: Buffers;
  observe(event: StoreEvent): void;
  /** Called after each piece that was read, and awaited. */
  pace(bytes: number): Promise<void>;
  /** Called after each blob. */
  progress(): void;
}

const mostListed = 1_000;

/** So many failures in a row are the store's, not the blobs'. */
export const mostScrubFailures = 3;

/**
 * Reads every stored blob, one at a time, and takes what is wrong or unreadable out of sight; what is stored anew
 * meanwhile stays. A blob that cannot be read is one only if the store goes on giving others.
 *
 * @throws ProxyCacheError `storage-failed` for a store that gives nothing; the signal's reason
 */
export async function scrubBlobs(parts: ScrubBlobsParts, report: BlobsReport, signal: AbortSignal): Promise<void> {
  const { blobs, observe } = parts;
  let suspects: StoredBlob[] = [];
  let sound: Digest | undefined;

  /** `undefined`: it is not there any more. */
  async function isRight(digest: Digest): Promise<boolean | undefined> {
    const blob = await blobs.open(digest, { signal });
    if (!blob) return undefined;
    try {
      return await isIntact(blob, digest, { buffers: parts.buffers, signal, pace: parts.pace });
    } finally {
      await blob.close().catch((error) => observe(storeFailed('close', digest, error)));
    }
  }

  async function flawed({ digest, size, storedAt }: StoredBlob, reason: BlobFlaw, isKept = false): Promise<void> {
    const blob = { digest, size, reason, storedUntil: storedAt };
    const quarantined = !isKept && (await putAside(parts, blob, signal));
    report.checked++;
    report.flawed++;
    if (report.wrong.length < mostListed) report.wrong.push({ digest, size, reason, quarantined });
  }

  async function settle(stored: StoredBlob, right: boolean | undefined): Promise<void> {
    if (right === undefined) return;
    if (!right) return await flawed(stored, 'wrong-bytes');
    report.checked++;
    report.bytes += stored.size;
    sound = stored.digest;
  }

  /** The store gives other blobs: those that it still does not give are of no use. */
  async function settleSuspects(): Promise<void> {
    const again = suspects;
    suspects = [];
    for (const suspect of again) {
      const right = await isRight(suspect.digest).catch(() => 'unreadable' as const);
      signal.throwIfAborted();
      if (right === 'unreadable') await flawed(suspect, right);
      else await settle(suspect, right);
    }
  }

  async function failed(stored: StoredBlob, error: unknown): Promise<void> {
    signal.throwIfAborted();
    observe(storeFailed('scrub', stored.digest, error));
    suspects.push(stored);
    if (suspects.length < mostScrubFailures) return;
    const message = `the store failed ${mostScrubFailures} times in a row; scrub again when it is back`;
    throw new ProxyCacheError('storage-failed', message, { cause: error });
  }

  for await (const stored of blobs.digests({ signal })) {
    try {
      const right = await isRight(stored.digest);
      await settle(stored, right);
      if (right !== undefined && suspects.length > 0) await settleSuspects();
    } catch (error) {
      await failed(stored, error);
    }
    parts.progress();
  }
  // No blob came after them that could tell: one that was right is asked for once more.
  const answers = sound !== undefined && (await isRight(sound).catch(() => undefined)) !== undefined;
  signal.throwIfAborted();
  if (answers) await settleSuspects();
  else for (const suspect of suspects) await flawed(suspect, 'unreadable', true);
  parts.progress();
}
