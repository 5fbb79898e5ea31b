import { readManifest } from '../catalog/manifest-bytes.ts';
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts';
import { parseManifest } from '../oci/manifest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import { createRecent } from '../runtime/recent.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import { markOf } from './graph.ts';

/** What a stored manifest cannot be served without, as the marks of a graph. */
export interface Needs {
  needs: Float64Array;
  /** What it is about: it stays as long as that. */
  subject: number | undefined;
}

/** What manifests need, by their stored bytes. */
export interface ManifestNeeds {
  /**
   * `undefined`: its bytes are not here, or are no manifest to anybody; `unread`: they are, and could not be read now.
   * Rejects only with the signal's reason.
   */
  of(digest: Digest, signal: AbortSignal): Promise<Needs | 'unread' | undefined>;
}

// Some 200 bytes each: what a manifest needs never changes, and a store may be far away.
const mostKnown = 50_000;

/** @param parts.peek a manifest's bytes, where memory has them */
export function createManifestNeeds(parts: {
  blobs: Pick<BlobStore, 'open'>;
  peek(digest: Digest): Uint8Array | undefined;
  maxManifestBytes(): number;
  observe(event: StoreEvent): void;
}): ManifestNeeds {
  const { blobs, peek, maxManifestBytes, observe } = parts;
  const known = createRecent<Digest, Needs>(mostKnown);
  const buffers = createBuffers(0);

  async function read(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const bytes = await readManifest(blobs, digest, { maxBytes: maxManifestBytes(), buffers, signal });
    if (bytes && digestOf(bytes, digestAlgorithm(digest)) !== digest) throw new Error('its bytes are wrong');
    return bytes;
  }

  return {
    async of(digest, signal) {
      const before = known.get(digest);
      if (before) return before;
      try {
        const bytes = peek(digest) ?? (await read(digest, signal));
        if (!bytes) return undefined;
        const needs = needsOf(bytes);
        known.set(digest, needs);
        return needs;
      } catch (error) {
        signal.throwIfAborted();
        observe(storeFailed('sweep', digest, error));
        return 'unread';
      }
    },
  };
}

function needsOf(bytes: Uint8Array): Needs {
  const { children, blobs, subject } = parseManifest(bytes);
  const marks = [...children, ...blobs].map(({ digest }) => markOf(digest));
  return { needs: Float64Array.from(marks), subject: subject && markOf(subject) };
}
