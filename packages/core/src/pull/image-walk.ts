import type { Digest } from '../oci/digest.ts';
import {
  type BlobDescriptor,
  type ChildDescriptor,
  type ParsedManifest,
  type Platform,
  parseManifest,
} from '../oci/manifest.ts';
import { isIndexType } from '../oci/media-type.ts';
import { isOfPlatform, platformList, platformText } from '../oci/platform.ts';
import { ProxyCacheError } from '../runtime/errors.ts';

/** All that an image is made of, as its manifests are read one after the other. */
export interface ImageWalk {
  /** What a manifest names that is wanted, and was not named before. @throws ProxyCacheError `manifest-unsupported` */
  enter(digest: Digest, bytes: Uint8Array): { children: readonly ChildDescriptor[]; blobs: readonly BlobDescriptor[] };
  /** @throws ProxyCacheError `manifest-unknown` for a platform of which nothing was named, telling what there is */
  checkPlatforms(subject: string): void;
}

// An index may name tens of thousands of others.
const mostManifests = 10_000;

/** @param platforms of an index only images for these, and what it names no platform for. Default: all */
export function createImageWalk(platforms: readonly Platform[] | undefined): ImageWalk {
  const seen = new Set<Digest>();
  const listed: Platform[] = [];
  let hasUnnamed = false;
  let isIndex = false;
  let manifests = 0;

  function isWanted({ mediaType, platform }: ChildDescriptor): boolean {
    if (!platform) {
      hasUnnamed ||= !isIndexType(mediaType);
      return true;
    }
    listed.push(platform);
    return !platforms || platforms.some((wanted) => isOfPlatform(platform, wanted));
  }

  function isNew({ digest }: { digest: Digest }): boolean {
    if (seen.has(digest)) return false;
    seen.add(digest);
    return true;
  }

  return {
    enter(digest, bytes) {
      seen.add(digest);
      const manifest: ParsedManifest = parseManifest(bytes);
      isIndex ||= manifest.children.length > 0;
      const children = manifest.children.filter(isWanted).filter(isNew);
      manifests += children.length;
      if (manifests > mostManifests) {
        throw new ProxyCacheError('manifest-unsupported', `it names more than ${mostManifests} manifests`);
      }
      return { children, blobs: manifest.blobs.filter(({ foreign }) => !foreign).filter(isNew) };
    },
    checkPlatforms(subject) {
      if (!platforms || !isIndex || hasUnnamed) return;
      const missing = platforms.filter((wanted) => !listed.some((platform) => isOfPlatform(platform, wanted)));
      if (missing.length === 0) return;
      const names = missing.map(platformText).join(', ');
      throw new ProxyCacheError(
        'manifest-unknown',
        `${subject} has nothing for ${names}; it has ${platformList(listed)}`,
      );
    },
  };
}
