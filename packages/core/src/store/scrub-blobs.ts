import type { Digest } from '../oci/digest.ts';
import type { Buffers } from '../runtime/buffers.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { BlobStore, OpenBlob, StoredBlob } from './blob-store.ts';
import { confirmWrong } from './confirm-wrong.ts';
import { type BlobFlaw, type StoreEvent, storeFailed } from './events.ts';
import { isIntact } from './is-intact.ts';
import { putAside } from './put-aside.ts';

/** A stored blob that was found of no use. */
export interface WrongBlob {
  digest: Digest;
  size: number;
  reason: BlobFlaw;
  /**
   * Whether it was taken out of sight. Else the store refused, the blob was stored anew meanwhile, or it is unreadable:
   * that may pass, and a pull that meets it replaces it.
   */
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

/** After so many failures in a row it is asked whether they are the store's. */
export const mostScrubFailures = 3;

/** A store that has given nothing yet, and fails so often, is away. */
const mostBeforeAny = 20;

/**
 * Reads every stored blob and its copies, one at a time, and takes out of sight what was read whole, twice, with other bytes than its
 * digest says; what is stored anew meanwhile stays. What cannot be read is told and stays too.
 *
 * @throws ProxyCacheError `storage-failed` for a store that gives nothing; the signal's reason
 */
export async function scrubBlobs(parts: ScrubBlobsParts, report: BlobsReport, signal: AbortSignal): Promise<void> {
  const { blobs, observe } = parts;
  let suspects: { stored: StoredBlob; error: unknown }[] = [];
  let sound: Digest | undefined;

  const look = { buffers: parts.buffers, signal, pace: parts.pace };

  /** A copy that cannot be read is told of; what it is a copy of can be. */
  async function isRightOrUnreadable(copy: OpenBlob, digest: Digest): Promise<boolean> {
    try {
      return await isIntact(copy, digest, look);
    } catch (error) {
      signal.throwIfAborted();
      observe(storeFailed('scrub', digest, error));
      return true;
    }
  }

  async function readOnce(digest: Digest): Promise<boolean | undefined> {
    const blob = await blobs.open(digest, { forScrub: true, signal });
    if (!blob) return undefined;
    try {
      if (!(await isIntact(blob, digest, look))) return false;
      for (const copy of blob.copies ?? []) if (!(await isRightOrUnreadable(copy, digest))) return false;
      return true;
    } finally {
      await blob.close().catch((error) => observe(storeFailed('close', digest, error)));
    }
  }

  /** `undefined`: it is not there any more. */
  const isRight = (digest: Digest) => confirmWrong(() => readOnce(digest));

  async function flawed({ digest, size, storedAt }: StoredBlob, reason: BlobFlaw): Promise<void> {
    const blob = { digest, size, reason, storedUntil: storedAt };
    const quarantined = reason === 'wrong-bytes' && (await putAside(parts, blob, signal));
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

  /** Asks for those once more that could not be read. */
  async function settleSuspects(): Promise<void> {
    const again = suspects;
    suspects = [];
    for (const { stored } of again) {
      const right = await isRight(stored.digest).catch(() => 'unreadable' as const);
      signal.throwIfAborted();
      if (right === 'unreadable') await flawed(stored, right);
      else await settle(stored, right);
    }
  }

  /** Whether the store still gives what it gave before; `undefined` where it has given nothing. */
  async function answers(): Promise<boolean | undefined> {
    if (sound === undefined) return undefined;
    try {
      const blob = await blobs.open(sound, { range: { from: 0, to: 0 }, forScrub: true, signal });
      if (blob?.kind === 'file') await blob.read(new Uint8Array(1), 0).finally(() => blob.close());
      else await blob?.close();
      return true;
    } catch {
      signal.throwIfAborted();
      return false;
    }
  }

  function away(): ProxyCacheError {
    const message = `the store failed ${suspects.length} times in a row; scrub again when it is back`;
    return new ProxyCacheError('storage-failed', message, { cause: suspects.at(-1)?.error });
  }

  async function failed(stored: StoredBlob, error: unknown): Promise<void> {
    signal.throwIfAborted();
    observe(storeFailed('scrub', stored.digest, error));
    suspects.push({ stored, error });
    if (suspects.length < mostScrubFailures) return;
    const answering = await answers();
    if (answering) await settleSuspects();
    else if (answering === false || suspects.length >= mostBeforeAny) throw away();
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
  // No blob came after them that could tell.
  const answering = suspects.length > 0 && (await answers());
  if (!answering && suspects.length >= mostScrubFailures) throw away();
  await settleSuspects();
  parts.progress();
}
