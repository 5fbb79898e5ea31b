import type { Digest } from '../oci/digest.ts';
import { abortable } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { isProofOf } from '../upstream/said-of-blob.ts';
import { saidByLink } from './blob-proof.ts';
import type { Pulls } from './noted-pulls.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';
import { whenPlaceIsFree } from './when-place-is-free.ts';

/** A blob that is to be stored. */
export interface KeptBlob {
  target: Target;
  digest: Digest;
  signal: AbortSignal;
  /** Told of a transfer that brings it in: `received` says how many bytes have come. */
  follows(received: () => number): void;
}

/** How many bytes came in for it: 0 where it was here. @throws as a pull of it does, and where it cannot be kept */
export type KeepBlob = (blob: KeptBlob) => Promise<number>;

// What another repository has under way may prove nothing of this one: once that is here, its own request does.
const mostTries = 2;

/**
 * Has a blob stored as a pull would, and waits until it is, and is proven to be its repository's. It takes no place from a
 * client: where all transfers that may run do, it waits for one to end.
 *
 * @param pulls by which rules it is let in
 */
export function createKeepBlob(parts: PullParts, pulls: Pick<Pulls, 'pullBlob'>): KeepBlob {
  const { ingests, links, clock } = parts;

  async function bringOnce({ target, digest, signal, follows }: KeptBlob): Promise<number> {
    const { upstream } = target.place;
    const answer = await pulls.pullBlob({ target, digest, want: 'bytes', signal });
    const ingest = ingests.find(upstream, digest);
    const leave = ingest?.join();
    try {
      await answer.close();
      if (answer.uncached) throw notKept(digest, answer.uncached);
      if (ingest) {
        follows(ingest.received);
        await abortable(ingest.verified, signal);
        await abortable(ingest.ended, signal);
      }
    } finally {
      leave?.({ endsAlone: true });
    }
    return ingest?.received() ?? (answer.cacheStatus.stored ? (answer.size ?? 0) : 0);
  }

  async function bring(blob: KeptBlob, since: number): Promise<number> {
    const { digest, signal } = blob;
    for (let tries = 1; tries <= mostTries; tries++) {
      const came = await bringOnce(blob);
      const size = await storedSize(parts, digest, signal);
      if (size === undefined) break;
      if (await isProven(blob, { size, since })) return came;
    }
    throw notKept(digest, 'spool-failed');
  }

  /** Whether it was proven to be its repository's, by a proof that holds or is no older than `since`: some hold for no time. */
  async function isProven(
    { target, digest, signal }: KeptBlob,
    { size, since }: { size: number; since: number },
  ): Promise<boolean> {
    const link = await links.findExpired(target.place, 'blob', digest, signal);
    if (!link || !isProofOf(saidByLink(link), size)) return false;
    return link.provenAt >= since || (await links.find(target.place, 'blob', digest, signal)) !== undefined;
  }

  async function keep(blob: KeptBlob): Promise<number> {
    const { target, digest, signal } = blob;
    const since = clock.now();
    const size = await storedSize(parts, digest, signal);
    if (size === undefined) return await bring(blob, since);
    // Whether it is this repository's, and may pass.
    const said = await pulls.pullBlob({ target, digest, want: 'descriptor', signal });
    await said.close();
    return (await isProven(blob, { size, since })) ? 0 : await bring(blob, since);
  }

  return (blob) => whenPlaceIsFree(() => keep(blob), { clock, signal: blob.signal });
}

/** Whether the store has some content now. @throws what the store throws */
export async function isStored(parts: PullParts, digest: Digest, signal: AbortSignal): Promise<boolean> {
  return (await storedSize(parts, digest, signal)) !== undefined;
}

async function storedSize({ blobs }: PullParts, digest: Digest, signal: AbortSignal): Promise<number | undefined> {
  const blob = await blobs.open(digest, { forBytes: false, signal });
  await blob?.close();
  return blob?.size;
}

const reasons = {
  'min-free': ['storage-full', 'the disk has less than minFree left'],
  'max-bytes': ['quota-exceeded', 'it does not fit into maxBytes'],
  'spool-failed': ['storage-failed', 'the store did not take it'],
} as const;

function notKept(digest: Digest, reason: keyof typeof reasons): ProxyCacheError {
  const [code, why] = reasons[reason];
  return new ProxyCacheError(code, `${digest} can be pulled, and is not stored: ${why}`);
}
