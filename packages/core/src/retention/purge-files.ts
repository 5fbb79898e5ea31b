import { prefixOf, textOf } from '../catalog/keys.ts';
import { listAll } from '../catalog/tag-records.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { turn } from '../runtime/turn.ts';
import { storeFailed } from '../store/events.ts';
import { fewAtOnce } from './few-at-once.ts';
import type { PurgeRun } from './purge-records.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { RecentProofs } from './watch-proofs.ts';

const listedPerTurn = 1_024;

/**
 * Removes the bytes of what lost its last link, also while somebody reads them: who has them open reads them to their end. What
 * comes in, or was proven anew, stays.
 *
 * @throws what the metadata store throws; the signal's reason
 */
export async function purgeFiles(parts: RetentionParts, run: PurgeRun, proofs: RecentProofs): Promise<void> {
  const { manifests, blobs, gone, unlinked, isUnderWay, observe } = parts;
  const { report, signal } = run;
  const going = new Map(run.unlinked);

  function spare(digest: Digest): void {
    if (going.delete(digest)) report.shared++;
  }

  async function remove([digest, isManifest]: [Digest, boolean]): Promise<boolean> {
    signal.throwIfAborted();
    for (const proven of proofs.take()) spare(proven.digest);
    if (!going.has(digest)) return true;
    if (isUnderWay(digest)) {
      report.left++;
      return true;
    }
    try {
      const size = await sizeOf(parts, digest, signal);
      if (isManifest) manifests.forget(digest);
      if (await blobs.delete(digest, { signal })) {
        unlinked.delete(digest);
        report.files++;
        report.bytes += size;
      }
      if (isManifest) await gone.add(digest);
    } catch (error) {
      signal.throwIfAborted();
      observe(storeFailed('purge', digest, error));
      report.left++;
    }
    run.progress();
    return true;
  }

  if (going.size === 0) return;
  let listed = 0;
  for await (const key of listAll(parts.metadata, prefixOf('link'), signal)) {
    if (++listed % listedPerTurn === 0) await turn();
    const name = textOf(key.slice(key.lastIndexOf('/') + 1)) ?? '';
    const digest = name.slice(name.indexOf('.') + 1);
    if (isDigest(digest)) spare(digest);
  }
  await fewAtOnce([...going], remove);
  await gone.flush();
}

async function sizeOf({ blobs }: RetentionParts, digest: Digest, signal: AbortSignal): Promise<number> {
  const blob = await blobs.open(digest, { forBytes: false, signal });
  await blob?.close();
  return blob?.size ?? 0;
}
