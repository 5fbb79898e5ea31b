import type { Digest } from '../oci/digest.ts';
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { listedImages } from '../oci/platform.ts';
import { storeFailed } from '../store/events.ts';
import { isProofOf } from '../upstream/said-of-blob.ts';
import { saidByLink } from './blob-proof.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/**
 * Whether an image can be pulled whole through a repository without asking its upstream: all of it is here, and proven
 * to be the repository's. Of an index, any one of its platforms counts, and an attestation is none. A store that fails is
 * one that has nothing; what names more than 2,000 others is not followed to its end.
 */
export type IsComplete = (target: Target, digest: Digest, signal: AbortSignal) => Promise<boolean>;

// A manifest may name tens of thousands of others. Who has looked at so many of them without an end says no.
const mostLooks = 2_000;

export function createIsComplete(parts: PullParts): IsComplete {
  const { manifests, links, blobs, observe } = parts;

  async function hasBlob(target: Target, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const link = await links.find(target.place, 'blob', digest, signal);
    if (!link) return false;
    try {
      const blob = await blobs.open(digest, { forBytes: false, signal });
      await blob?.close();
      return blob !== undefined && isProofOf(saidByLink(link), blob.size);
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
    // Indexes may share children by the thousand, images a layer: each is looked at once. One that is being looked at
    // has nothing to add to itself.
    const known = new Map<string, boolean>();

    async function once(key: string, look: () => Promise<boolean>): Promise<boolean> {
      const found = known.get(key);
      if (found !== undefined) return found;
      if (known.size >= mostLooks) return false;
      known.set(key, false);
      const is = await look();
      known.set(key, is);
      return is;
    }

    async function look(digest: Digest): Promise<boolean> {
      const manifest = await manifestOf(target, digest, signal);
      if (!manifest) return false;
      if (manifest.kind === 'index' && manifest.children.length > 0) {
        for (const child of listedImages(manifest.children)) if (await check(child.digest)) return true;
        return false;
      }
      for (const { digest: blob, foreign } of manifest.blobs) {
        if (!foreign && !(await once(`blob ${blob}`, () => hasBlob(target, blob, signal)))) return false;
      }
      return true;
    }

    function check(digest: Digest): Promise<boolean> {
      return once(`manifest ${digest}`, () => look(digest));
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
