import type { Digest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Target } from './target.ts';

/** The failure of a blob that is larger than may be asked for. @param size as far as it is known */
export function blobTooLarge({ place, upstream }: Target, digest: Digest, size?: number): ProxyCacheError {
  const has = size === undefined ? 'is' : `has ${size} bytes, and is`;
  const message = `blob ${digest} of ${place.repository} ${has} larger than the ${upstream.maxBlobBytes} bytes that may be had of a blob of ${upstream.key}`;
  return new ProxyCacheError('blob-too-large', message);
}

/** Refuses what is known to be too large. @throws ProxyCacheError `blob-too-large` */
export function expectBlobSize(target: Target, digest: Digest, size: number | undefined): void {
  if (size !== undefined && size > target.upstream.maxBlobBytes) throw blobTooLarge(target, digest, size);
}
