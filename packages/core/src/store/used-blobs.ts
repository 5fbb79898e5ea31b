import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestAlgorithm, digestHex, isDigest } from '../oci/digest.ts';
import { turn } from '../runtime/turn.ts';
import { blobAlgorithms } from './file-blobs.ts';
import { isUnreadable, statFile, touchFile, unlessMissing } from './file-system.ts';

/** A blob of a folder. */
export interface UsedBlob {
  size: number;
  /** How many have it open, or store it just now. */
  holders: number;
  /** Ms since the epoch: of its last use as its file tells it, and of when it was stored. */
  toldAt: number;
  storedAt: number | undefined;
}

/** The blobs of a folder in the order of their last use. */
export interface UsedBlobs {
  bytes(): number;
  get(digest: Digest): UsedBlob | undefined;
  /** It is used at this instant, or there. */
  use(digest: Digest, size: number, now: number): UsedBlob;
  forget(digest: Digest): void;
  /** The one whose last use is the longest ago, of those that nobody holds. */
  oldest(): Digest | undefined;
  /** Takes in what is there; what was used meanwhile is newer. */
  scan(): Promise<void>;
}

const hourMs = 3_600_000;
const perTurn = 2_048;

/**
 * @param folder has a folder for each digest algorithm. A file's access time tells the hour of its last use to the next
 * start, also where the system does not keep it.
 */
export function createUsedBlobs(folder: string): UsedBlobs {
  // What was found at the start comes before what was used since.
  const found = new Map<Digest, UsedBlob>();
  const used = new Map<Digest, UsedBlob>();
  let bytes = 0;

  const get = (digest: Digest) => used.get(digest) ?? found.get(digest);

  function forget(digest: Digest): void {
    const blob = get(digest);
    if (!blob) return;
    bytes -= blob.size;
    used.delete(digest);
    found.delete(digest);
  }

  function tell(digest: Digest, blob: UsedBlob, now: number): void {
    if (blob.storedAt === undefined || now - blob.toldAt < hourMs) return;
    blob.toldAt = now;
    const path = join(folder, digestAlgorithm(digest), digestHex(digest));
    void touchFile(path, now / 1000, blob.storedAt / 1000).catch(() => undefined);
  }

  async function* files(): AsyncGenerator<{ digest: Digest; blob: UsedBlob }, void, undefined> {
    for (const algorithm of blobAlgorithms) {
      for await (const { name } of await opendir(join(folder, algorithm), { bufferSize: 512 })) {
        const digest = `${algorithm}:${name}`;
        if (!isDigest(digest)) continue;
        const path = join(folder, algorithm, name);
        const stats = await statFile(path).catch((error) => (isUnreadable(error) ? undefined : unlessMissing(error)));
        if (!stats?.isFile()) continue;
        const { size, atimeMs, mtimeMs } = stats;
        yield { digest, blob: { size, holders: 0, toldAt: atimeMs, storedAt: mtimeMs } };
      }
    }
  }

  return {
    bytes: () => bytes,
    get,
    use(digest, size, now) {
      const blob = get(digest) ?? { size: 0, holders: 0, toldAt: now, storedAt: undefined };
      bytes += size - blob.size;
      blob.size = size;
      found.delete(digest);
      used.delete(digest);
      used.set(digest, blob);
      tell(digest, blob, now);
      return blob;
    },
    forget,
    oldest() {
      for (const blobs of [found, used]) for (const [digest, { holders }] of blobs) if (holders === 0) return digest;
      return undefined;
    },
    async scan() {
      const byHour = new Map<number, [Digest, UsedBlob][]>();
      for await (const { digest, blob } of files()) {
        const hour = Math.floor(blob.toldAt / hourMs);
        const group = byHour.get(hour) ?? [];
        byHour.set(hour, group);
        group.push([digest, blob]);
      }
      let taken = 0;
      for (const hour of [...byHour.keys()].sort((one, other) => one - other)) {
        for (const [digest, blob] of byHour.get(hour) ?? []) {
          if (++taken % perTurn === 0) await turn();
          if (get(digest)) continue;
          found.set(digest, blob);
          bytes += blob.size;
        }
      }
    },
  };
}
