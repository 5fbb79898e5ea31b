import type { Digest } from '../oci/digest.ts';
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { listedImages, nowhere, platformText } from '../oci/platform.ts';
import { storeFailed } from '../store/events.ts';
import { mapBounded } from '../store/map-bounded.ts';
import { isProofOf } from '../upstream/said-of-blob.ts';
import { saidByLink } from './blob-proof.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/** How much of an image is here, and may be served through a repository. */
export interface ImageExtent {
  /** Whether all of it is; of an index, all of any one of its platforms. */
  complete: boolean;
  /** Bytes of it that are here: of its manifests, configs and layers, each counted once. */
  storedBytes: number;
  /** Of an index, the platforms that are here whole: `linux/amd64`. */
  platforms?: readonly string[];
}

/** Tells the extent of images of one repository, one after another, looking at what they share once. */
export interface ImageExtents {
  of(digest: Digest): Promise<ImageExtent>;
  /** How much was looked at so far. */
  looks(): number;
}

/** What of an image is here. */
interface Found {
  complete: boolean;
  /** Bytes by digest: images share layers. */
  stored: ReadonlyMap<Digest, number>;
  platforms?: string[];
}

const nothing: Found = { complete: false, stored: new Map() };

// A manifest may name tens of thousands of others: what is behind so many of them is not looked at, and not complete.
const mostLooks = 2_000;
const looksAtOnce = 8;

/** A store that fails is one that has nothing. The promises reject with the signal's reason, and nothing else. */
export function createImageExtents(parts: PullParts, target: Target, signal: AbortSignal): ImageExtents {
  const { manifests, links, blobs, observe } = parts;
  const sizes = new Map<Digest, Promise<number | undefined>>();
  const known = new Map<Digest, Promise<Found>>();
  const looks = () => sizes.size + known.size;
  let mayLookUntil = 0;

  async function sizeOf(digest: Digest): Promise<number | undefined> {
    const link = await links.find(target.place, 'blob', digest, signal);
    if (!link) return undefined;
    try {
      const blob = await blobs.open(digest, { forBytes: false, signal });
      await blob?.close();
      return blob && isProofOf(saidByLink(link), blob.size) ? blob.size : undefined;
    } catch (error) {
      signal.throwIfAborted();
      observe(storeFailed('open', digest, error));
      return undefined;
    }
  }

  function once<T>(
    asked: Map<Digest, Promise<T>>,
    digest: Digest,
    ask: () => Promise<T>,
    otherwise: T,
  ): Promise<T> | T {
    const found = asked.get(digest);
    if (found !== undefined) return found;
    if (looks() >= mayLookUntil) return otherwise;
    const asking = ask();
    asked.set(digest, asking);
    return asking;
  }

  const found = (digest: Digest) => once(known, digest, () => look(digest), nothing);

  async function look(digest: Digest): Promise<Found> {
    if (!(await links.find(target.place, 'manifest', digest, signal))) return nothing;
    const bytes = await manifests.load(digest, signal);
    const manifest = bytes && parsed(bytes);
    if (!bytes || !manifest) return nothing;
    const own: [Digest, number] = [digest, bytes.byteLength];
    const isIndex = manifest.kind === 'index' && manifest.children.length > 0;
    return isIndex ? await lookAtIndex(manifest, own) : await lookAtImage(manifest, own);
  }

  async function lookAtImage({ blobs: named }: ParsedManifest, own: [Digest, number]): Promise<Found> {
    const stored = new Map([own]);
    let complete = true;
    await mapBounded(named, looksAtOnce, async ({ digest, foreign }) => {
      const size = await once(sizes, digest, () => sizeOf(digest), undefined);
      if (size !== undefined) stored.set(digest, size);
      else if (!foreign) complete = false;
    });
    return { complete, stored };
  }

  async function lookAtIndex({ children }: ParsedManifest, own: [Digest, number]): Promise<Found> {
    const stored = new Map([own]);
    const platforms = new Set<string>();
    let complete = false;
    const images = new Set(listedImages(children));
    for (const child of children) {
      const { stored: storedOfChild, complete: isWhole } = await found(child.digest);
      for (const [one, size] of storedOfChild) stored.set(one, size);
      if (!isWhole || !images.has(child)) continue;
      complete = true;
      if (child.platform && child.platform.os !== nowhere) platforms.add(platformText(child.platform));
    }
    return { complete, stored, platforms: [...platforms] };
  }

  return {
    async of(digest) {
      mayLookUntil = looks() + mostLooks;
      const { complete, stored, platforms } = await found(digest);
      const storedBytes = [...stored.values()].reduce((sum, size) => sum + size, 0);
      return { complete, storedBytes, ...(platforms && { platforms }) };
    },
    looks,
  };
}

function parsed(bytes: Uint8Array): ParsedManifest | undefined {
  try {
    return parseManifest(bytes);
  } catch {
    // Taken by an older release, and not by this one: what it names nobody can say.
    return undefined;
  }
}
