import type { Digest } from '../oci/digest.ts';
import type { BlobAnswer } from './answer.ts';

/** What is said of a blob without its bytes. */
export function unreadAnswer({ digest }: { digest: Digest }, { size }: { size?: number | undefined }): BlobAnswer {
  return {
    digest,
    ...(size !== undefined && { size }),
    cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200 },
    read: () => {
      throw new Error('this answer has no bytes');
    },
    close: async () => undefined,
  };
}
