import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/manifest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { allEnded } from '../runtime/all-ended.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import type { Slots } from '../runtime/slots.ts';
import { redact } from '../upstream/redact.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { ManifestAnswer } from './answer.ts';
import { createImageWalk, type ImageWalk } from './image-walk.ts';
import { createKeepBlob } from './keep-blob.ts';
import type { Pulls } from './noted-pulls.ts';
import type { PullParts } from './pull-parts.ts';
import { type Target, targetKey } from './target.ts';

/** An image that is to be stored. */
export interface WantedImage {
  target: Target;
  reference: TagOrDigest;
  platforms?: readonly Platform[] | undefined;
}

/** What is done for several images: each manifest and blob once. */
export interface KeepRun {
  slots: Slots;
  signal: AbortSignal;
  /** By {@link targetKey} and digest: how many bytes came in. */
  blobs: Map<string, Promise<number>>;
  /** Something that is to be done was found; the returned function is called when it is, or has failed. */
  begins(size: number): { follows(received: () => number): void; ends(): void };
}

/** What came of it. What was stored is listed, whatever failed. */
export interface KeptImage {
  root: Descriptor | undefined;
  warning: string | undefined;
  contents: readonly Digest[];
  bytes: number;
  failures: readonly { code: string; message: string }[];
}

/** A manifest that was read. */
interface Entered {
  root: { descriptor: Descriptor; warning: string | undefined };
  named: ReturnType<ImageWalk['enter']> | undefined;
}

/** Has all of an image stored, by the rules of a pull. What fails is told, and keeps the rest from nothing. */
export type KeepImage = (image: WantedImage, run: KeepRun) => Promise<KeptImage>;

export function createKeepImage(parts: PullParts, pulls: Pulls): KeepImage {
  const keepBlob = createKeepBlob(parts, pulls);

  function pullRoot({ target, reference }: WantedImage, signal: AbortSignal): Promise<ManifestAnswer> {
    const pull = { target, want: 'bytes', signal } as const;
    return reference.kind === 'tag'
      ? pulls.pullTag.pull({ ...pull, tag: reference.tag })
      : pulls.pullDigest({ ...pull, digest: reference.digest });
  }

  return async (image, run) => {
    const { target, reference, platforms } = image;
    const { slots, signal } = run;
    const walk: ImageWalk = createImageWalk(platforms);
    const contents: Digest[] = [];
    const failures: { code: string; message: string }[] = [];
    let bytes = 0;

    async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        failures.push(shownFailure(error));
        return undefined;
      }
    }

    async function keepOne(digest: Digest, size: number): Promise<void> {
      const key = `${targetKey(target)} ${digest}`;
      const known = run.blobs.get(key);
      if (!known) run.blobs.set(key, came(digest, size));
      await attempt(async () => {
        const brought = await (known ?? run.blobs.get(key));
        contents.push(digest);
        if (!known) bytes += brought ?? 0;
      });
    }

    async function came(digest: Digest, size: number): Promise<number> {
      const { follows, ends } = run.begins(size);
      try {
        return await slots.run(() => keepBlob({ target, digest, signal, follows }), signal);
      } finally {
        ends();
      }
    }

    /** A manifest, and what it names: its bytes are not held while that comes in, of thousands at a time. */
    async function readManifest(pull: () => Promise<ManifestAnswer>): Promise<Entered | undefined> {
      const answer = await attempt(() => slots.run(pull, signal));
      if (!answer) return undefined;
      const { descriptor, warning, bytes: read } = answer;
      if (!read) return { root: { descriptor, warning }, named: undefined };
      contents.push(descriptor.digest);
      if (answer.cacheStatus.stored) bytes += read.byteLength;
      const named = await attempt(async () => walk.enter(descriptor.digest, read));
      return { root: { descriptor, warning }, named };
    }

    async function keepManifest(
      size: number,
      pull: () => Promise<ManifestAnswer>,
    ): Promise<Entered['root'] | undefined> {
      const { ends } = run.begins(size);
      const entered = await readManifest(pull).finally(ends);
      if (!entered) return undefined;
      const { root, named } = entered;
      await allEnded<unknown>([
        ...(named?.blobs ?? []).map((blob) => keepOne(blob.digest, blob.size)),
        ...(named?.children ?? []).map((child) =>
          keepManifest(child.size, () => pulls.pullDigest({ target, digest: child.digest, want: 'bytes', signal })),
        ),
      ]);
      return root;
    }

    const root = await keepManifest(0, () => pullRoot(image, signal));
    if (root) await attempt(async () => walk.checkPlatforms(subjectOf(target, reference)));
    return { root: root?.descriptor, warning: root?.warning, contents, bytes, failures };
  };
}

function subjectOf({ place }: Target, reference: TagOrDigest): string {
  const what = reference.kind === 'tag' ? `:${reference.tag}` : `@${reference.digest}`;
  return `${place.repository}${what} of ${place.upstream}`;
}

/** What failed, as it may be shown. */
export function shownFailure(error: unknown): { code: string; message: string } {
  const isKnown = isProxyCacheError(error) || isUpstreamError(error);
  const message = error instanceof Error ? error.message : String(error);
  return { code: isKnown ? error.code : 'internal', message: redact(message) };
}
