import type { ChildDescriptor, Platform } from './manifest.ts';

/** What runs on nothing: attestations (OCI image-spec, image-index.md). */
export const nowhere = 'unknown';

// Without a variant these are meant (containerd, platforms).
const usualVariants: Readonly<Record<string, string>> = { arm: 'v7', arm64: 'v8' };

const platformPattern = /^[a-z0-9_]+\/[a-z0-9_]+(\/[a-z0-9_.]+)?$/;

/** Whether the text names a platform: `linux/amd64`, `linux/arm/v7`. */
export function isPlatform(text: string): boolean {
  return platformPattern.test(text);
}

/** @param text one that {@link isPlatform} takes */
export function parsePlatform(text: string): Platform {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

/** Whether a platform is one that is wanted: without a variant any. */
export function isOfPlatform(platform: Platform, wanted: Platform): boolean {
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return false;
  const variant = platform.variant ?? usualVariants[platform.architecture];
  return wanted.variant === undefined || wanted.variant === variant;
}

/** As people write it. */
export function platformText({ os, architecture, variant }: Platform): string {
  return `${os}/${architecture}${variant === undefined ? '' : `/${variant}`}`;
}

/**
 * The images that an index lists: all that it does not say to run on nothing. Where there is none, all that it lists: it is
 * no index of images.
 */
export function listedImages(children: readonly ChildDescriptor[]): readonly ChildDescriptor[] {
  const images = children.filter(({ platform }) => platform?.os !== nowhere);
  return images.length > 0 ? images : children;
}

const mostShown = 10;

/** The platforms of an index for people to read, without those that nothing runs on. */
export function platformList(listed: readonly Platform[]): string {
  const names = [...new Set(listed.filter(({ os }) => os !== nowhere).map(platformText))];
  return `${names.slice(0, mostShown).join(', ')}${names.length > mostShown ? ' and others' : ''}` || 'nothing';
}
