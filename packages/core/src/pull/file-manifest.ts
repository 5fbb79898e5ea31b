import type { Link } from '../catalog/links.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { mayGoBy, parseManifest } from '../oci/manifest.ts';
import type { FetchedManifest } from '../upstream/upstream.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/**
 * Files a verified manifest under its digest, with the proof that this repository holds it, before any answer leaves: a
 * client that has the tag asks for the digest next. In the store when the promise resolves; nobody is given it from here before.
 * Never rejects.
 */
export async function fileManifest(
  parts: PullParts,
  target: Target,
  { descriptor, bytes }: FetchedManifest,
): Promise<void> {
  // At the same time: each is true without the others, so a crash in between leaves nothing wrong.
  await Promise.all([
    parts.manifests.store(descriptor.digest, bytes),
    parts.links.prove(target.place, 'manifest', descriptor),
  ]);
  // For the catalog alone, which waits for it: no pull has to. It has no room for what one caller may know of.
  if (!target.caller) void parts.repositories.note(target.place);
}

/**
 * Notes that a repository still has a manifest, where its proof expires: not at each pull, but early enough that one which
 * is pulled again and again stays proven.
 */
export function proveAgain({ links, clock }: PullParts, { upstream, place }: Target, descriptor: Descriptor): void {
  const { linkValidForMs } = upstream;
  if (linkValidForMs === Number.POSITIVE_INFINITY) return;
  const link = links.lookup(place, 'manifest', descriptor.digest)();
  if (link && clock.now() - link.provenAt < linkValidForMs / 2) return;
  void links.prove(place, 'manifest', descriptor);
}

/**
 * The bytes of a manifest that this repository proved to hold (by an answer that named digest and type), where they came
 * here through another tag or repository. Bytes of another type than this repository says are not its manifest.
 */
export async function storedElsewhere(
  parts: PullParts,
  proven: Omit<Descriptor, 'size'>,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const bytes = await parts.manifests.load(proven.digest, signal);
  return bytes && fits(bytes, proven.mediaType) ? bytes : undefined;
}

/**
 * The bytes of a manifest that this repository proved to hold, as {@link storedElsewhere} where a HEAD alone told their
 * type. They are looked at once.
 */
export async function bytesOfProof(
  parts: PullParts,
  { place }: Target,
  { digest, link: { mediaType, typeUnchecked } }: { digest: Digest; link: Link },
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (!typeUnchecked) return parts.manifests.load(digest, signal);
  const bytes = await storedElsewhere(parts, { digest, mediaType }, signal);
  // It need not be waited for: whoever asks after a crash has them looked at again.
  if (bytes) void parts.links.typeChecked(place, { digest, mediaType });
  return bytes;
}

/** What this release takes for no manifest fits no type: whoever fetches it is told why. */
function fits(bytes: Uint8Array, mediaType: string): boolean {
  try {
    return mayGoBy(parseManifest(bytes), mediaType);
  } catch {
    return false;
  }
}
