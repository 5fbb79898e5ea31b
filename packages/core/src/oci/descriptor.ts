import type { Digest } from './digest.ts';

/** What a registry says of some content (OCI image-spec, descriptor.md): its type, address and length in bytes. */
export interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
}
