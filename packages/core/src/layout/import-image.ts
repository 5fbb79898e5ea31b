import { settle } from '../freshness/settle.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { mayGoBy, type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { proveBlob } from '../pull/blob-proof.ts';
import { expectStored } from '../pull/expect-stored.ts';
import { createImageWalk } from '../pull/image-walk.ts';
import { isStored } from '../pull/keep-blob.ts';
import type { PullParts } from '../pull/pull-parts.ts';
import { isOfNow, type Target, targetOf } from '../pull/target.ts';
import type { Used } from '../retention/use.ts';
import { allEnded } from '../runtime/all-ended.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Slots } from '../runtime/slots.ts';
import { invalid, type LayoutEntry, readLayoutManifest } from './layout-files.ts';
import { takeBlob } from './take-blob.ts';

/** An image of a layout, and what it is here. */
export interface LayoutImage {
  target: Target;
  reference: TagOrDigest;
  entry: LayoutEntry;
  directory: string;
}

/** What is done for several images. */
export interface ImportRun {
  slots: Slots;
  signal: AbortSignal;
  maxManifestBytes: number;
  /** Something was taken in, or was here. */
  took(bytes: number): void;
}

/** An image that was taken in. */
export interface TakenImage {
  /** What it is made of. */
  contents: readonly Digest[];
  /**
   * Has its repository serve it still, where its upstream is asked as somebody else by now.
   *
   * @throws as {@link expectStored} does
   */
  serve(): Promise<void>;
}

/**
 * Takes an image in, so that its repository serves it: all of it, or nothing. Of an index, what the layout has of its images.
 * That the repository has it is whoever imports it who says so, in place of the upstream (SEMANTICS 19).
 *
 * @throws ProxyCacheError `layout-invalid`, and as {@link takeBlob} and {@link expectStored} do; the signal's reason
 */
export async function importImage(parts: PullParts, image: LayoutImage, run: ImportRun): Promise<TakenImage> {
  const { target, directory, entry, reference } = image;
  const { slots, signal, took } = run;
  const walk = createImageWalk(undefined);
  const manifests: Descriptor[] = [];
  const blobs: { digest: Digest; size: number }[] = [];

  const load = (descriptor: Descriptor) => readLayoutManifest(directory, descriptor, run.maxManifestBytes);

  /** Thousands of manifests are too much to hold: each is read, and checked, once more when it is taken in. */
  async function again(descriptor: Descriptor): Promise<Uint8Array> {
    signal.throwIfAborted();
    const bytes = await load(descriptor);
    if (!bytes) throw invalid(`${descriptor.digest} is missing`);
    return bytes;
  }

  async function read(descriptor: Descriptor): Promise<boolean> {
    signal.throwIfAborted();
    const bytes = await load(descriptor);
    if (!bytes) return false;
    const manifest: ParsedManifest = parseManifest(bytes);
    if (!mayGoBy(manifest, descriptor.mediaType)) throw invalid(`${descriptor.digest} is not what its descriptor says`);
    const named = walk.enter(descriptor.digest, bytes);
    blobs.push(...named.blobs);
    let has = 0;
    for (const child of named.children) if (await read(child)) has++;
    if (named.children.length > 0 && has === 0)
      throw invalid(`it has none of the images that ${descriptor.digest} names`);
    // Children first: who finds an index finds what it names.
    const { mediaType, digest, size } = descriptor;
    manifests.push({ mediaType, digest, size });
    return true;
  }

  /** Whoever imports an image wants it: it stays as if it was pulled now. */
  function used(kind: Used['kind'], tagOrDigest: string): void {
    const { usage, clock } = parts;
    usage.note(usage.of({ place: target.place, kind, tagOrDigest }), clock.now());
  }

  async function take(blob: { digest: Digest; size: number }): Promise<void> {
    const bytes = await takeBlob(parts, { target, directory, signal, ...blob });
    // At once: one that was here must not go for those that come after it.
    used('blob', blob.digest);
    took(bytes);
  }

  const { mediaType, digest, size } = entry;
  if (reference.kind === 'digest' && reference.digest !== digest)
    throw invalid(`it has ${digest}, and not ${reference.digest}`);
  if (!(await read({ mediaType, digest, size }))) throw invalid(`${digest} is missing`);
  await allEnded(blobs.map((blob) => slots.run(() => take(blob), signal)));
  signal.throwIfAborted();
  for (const descriptor of manifests) await parts.manifests.store(descriptor.digest, await again(descriptor));
  for (const { digest } of manifests) {
    if (await isStored(parts, digest, signal)) continue;
    throw new ProxyCacheError('storage-failed', `the store did not take ${digest}`);
  }
  const contents = [...blobs, ...manifests].map(({ digest }) => digest);
  // What came in last may have pushed out what came first: nothing of half an image is served.
  await expectStored(parts, contents, run);
  for (const descriptor of manifests) {
    used('manifest', descriptor.digest);
    took(descriptor.size);
  }
  let served: Target | undefined;
  let notedAt: number | undefined;

  async function serve(): Promise<void> {
    // It is the importer's word, whoever the upstream is asked as: it is given again where that has changed.
    while (!served || !isOfNow(served)) {
      const current = targetOf(target.upstream, target.place.repository);
      await Promise.all(blobs.map((blob) => proveBlob(parts, current, blob)));
      for (const descriptor of manifests) await parts.links.prove(current.place, 'manifest', descriptor);
      // Something else may have pushed it out before it was proven.
      await expectStored(parts, contents, run);
      if (reference.kind === 'tag') {
        const tag = { tag: reference.tag, descriptor: { mediaType, digest, size } };
        const now = parts.clock.now();
        // What the upstream has said of it since stays.
        await noteTag(parts, current, { ...tag, startedAt: notedAt ?? now, now });
        notedAt = now;
      }
      served = current;
    }
  }

  void parts.repositories.note(target.place);
  await serve();
  if (reference.kind === 'tag') used('tag', reference.tag);
  return { contents, serve };
}

async function noteTag(
  { tags }: PullParts,
  { upstream, place }: Target,
  { tag, descriptor, ...when }: { tag: string; descriptor: Descriptor; startedAt: number; now: number },
): Promise<void> {
  await tags.update({ place, tag }, (current) => {
    const context = { rules: upstream.rules, ...when };
    const next = settle(current, { kind: 'found', value: descriptor, stored: true }, context).record;
    return next && { ...next, saidTo: place.generation };
  });
}
