import { prefixOf, textOf } from '../catalog/keys.ts';
import { listAll } from '../catalog/tag-records.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { turn } from '../runtime/turn.ts';
import type { StoredBlob } from '../store/blob-store.ts';
import { storeFailed } from '../store/events.ts';
import { fewAtOnce } from './few-at-once.ts';
import { markOf } from './graph.ts';
import { isHeld } from './is-held.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { RecentProofs } from './watch-proofs.ts';

/** What bytes are of no use to any repository. */
export interface UselessFiles {
  /** The last use of what goes; `undefined`: it stays. */
  goesAt(mark: number, storedAt: number): number | undefined;
  isManifest(mark: number): boolean;
  /** Whether it was seen in some repository. */
  wasSeen(mark: number): boolean;
  /** Whether something has manifests among it: they go before what they need. */
  hasManifests: boolean;
}

/** So many are looked for together among the links that came in meanwhile. Some 10 MB. */
const together = 50_000;

const listedPerTurn = 1_024;

/** After so many failures in a row the store counts as away. */
const mostFailures = 3;

/**
 * Removes bytes that no repository has any more, manifests first: what was stored anew, linked or proven since, what is open,
 * comes in, or waits for the store stays.
 *
 * @param how.dryRun tells what would go
 * @throws ProxyCacheError `storage-failed` for a store that removes nothing, what the stores throw; the signal's reason
 */
export async function removeFiles(
  parts: RetentionParts,
  {
    useless,
    proofs,
    dryRun,
    signal,
  }: { useless: UselessFiles; proofs: RecentProofs; dryRun: boolean; signal: AbortSignal },
  removed: (file: StoredBlob & { usedAt: number }) => void,
): Promise<void> {
  const { metadata, blobs, needs, manifests, gone, unlinked, observe } = parts;
  const spared = new Set<number>();
  let failures = 0;

  async function spare(kind: 'manifest' | 'blob', digest: Digest): Promise<void> {
    spared.add(markOf(digest));
    if (kind === 'blob') return;
    const told = await needs.of(digest, signal);
    if (told === undefined || told === 'unread') return;
    for (const mark of told.needs) spared.add(mark);
  }

  async function spareProven(): Promise<void> {
    for (const { kind, digest } of proofs.take()) await spare(kind, digest);
  }

  /** Other processes write links too. */
  async function spareLinked(wanted: ReadonlySet<number>): Promise<void> {
    for await (const key of listAll(metadata, prefixOf('link'), signal)) {
      const name = textOf(key.slice(key.lastIndexOf('/') + 1)) ?? '';
      const kind = name.startsWith('manifest.') ? 'manifest' : 'blob';
      const digest = name.slice(kind.length + 1);
      if (!isDigest(digest)) continue;
      const mark = markOf(digest);
      const isNew = kind === 'manifest' && !useless.wasSeen(mark);
      if (isNew || wanted.has(mark)) await spare(kind, digest);
    }
  }

  const stays = (digest: Digest) => spared.has(markOf(digest)) || isHeld(parts, digest);

  async function remove(file: StoredBlob & { usedAt: number }): Promise<void> {
    const { digest, storedAt } = file;
    await spareProven();
    if (stays(digest)) return;
    try {
      manifests.forget(digest);
      if (await blobs.delete(digest, { unlessStoredAfter: storedAt, signal })) {
        removed(file);
        unlinked.delete(digest);
        if (useless.isManifest(markOf(digest))) await gone.add(digest);
      }
      failures = 0;
    } catch (error) {
      signal.throwIfAborted();
      observe(storeFailed('sweep', digest, error));
      if (++failures < mostFailures) return;
      const message = `the store failed ${failures} times in a row; sweep again when it is back`;
      throw new ProxyCacheError('storage-failed', message, { cause: error });
    }
  }

  async function removeAll(files: readonly (StoredBlob & { usedAt: number })[]): Promise<void> {
    if (!dryRun) await spareLinked(new Set(files.map(({ digest }) => markOf(digest))));
    await fewAtOnce(files, async (file) => {
      if (!dryRun) await remove(file);
      else if (!stays(file.digest)) removed(file);
      return true;
    });
  }

  let listed = 0;
  const rounds = useless.hasManifests ? [true, false] : [false];
  for (const ofManifests of rounds) {
    let files: (StoredBlob & { usedAt: number })[] = [];
    for await (const file of blobs.digests({ signal })) {
      if (++listed % listedPerTurn === 0) await turn();
      const mark = markOf(file.digest);
      const usedAt = useless.goesAt(mark, file.storedAt);
      if (usedAt === undefined || useless.isManifest(mark) !== ofManifests) continue;
      files.push({ ...file, usedAt });
      if (files.length < together) continue;
      await removeAll(files);
      files = [];
    }
    if (files.length > 0) await removeAll(files);
    // Before what they need goes.
    await gone.flush();
  }
}
