import type { Digest } from '../oci/digest.ts';
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { storeFailed } from '../store/events.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/**
 * Whether an image can be pulled whole through a repository without asking its upstream: all of it is here, and proven
 * to be the repository's. Of an index, any one of its platforms counts. A store that fails is one that has nothing.
 */
export type IsComplete = (target: Target, digest: Digest, signal: AbortSignal) => Promise<boolean>;

export function createIsComplete(parts: PullParts): IsComplete {
  const { manifests, links, blobs, observe } = parts;

  async function hasBlob(target: Target, digest: Digest, signal: AbortSignal): Promise<boolean> {
    if (!(await links.find(target.place, 'blob', digest, signal))) return false;
    try {
      const blob = await blobs.open(digest, { signal });
      await blob?.close();
      return blob !== undefined;
    } catch (error) {
      signal.throwIfAborted();
      observe(storeFailed('open', digest, error));
      return false;
    }
  }

  async function manifestOf(target: Target, digest: Digest, signal: AbortSignal): Promise<ParsedManifest | undefined> {
    if (!(await links.find(target.place, 'manifest', digest, signal))) return undefined;
    const bytes = await manifests.load(digest, signal);
    return bytes && parsed(bytes);
  }

  return (target, root, signal) => {
    // Indexes may share children by the thousand: each is looked at once.
    const known = new Map<Digest, Promise<boolean>>();

    function check(digest: Digest): Promise<boolean> {
      const asked = known.get(digest) ?? look(digest);
      known.set(digest, asked);
      return asked;
    }

    async function look(digest: Digest): Promise<boolean> {
      const manifest = await manifestOf(target, digest, signal);
      if (!manifest) return false;
      if (manifest.kind === 'index' && manifest.children.length > 0) {
        for (const child of manifest.children) if (await check(child.digest)) return true;
        return false;
      }
      for (const blob of manifest.blobs) {
        if (!blob.foreign && !(await hasBlob(target, blob.digest, signal))) return false;
      }
      return true;
    }

    return check(root);
  };
}

function parsed(bytes: Uint8Array): ParsedManifest | undefined {
  try {
    return parseManifest(bytes);
  } catch {
    // Taken by an older release, and not by this one: whether it is whole nobody can say.
    return undefined;
  }
}
