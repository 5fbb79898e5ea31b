import type { BlobStore } from './blob-store.ts';
import type { Coordinator } from './coordinator.ts';
import type { MetadataStore } from './metadata-store.ts';

/** Where a cache keeps what it fetched. Each part may be of another kind. */
export interface Storage {
  blobs: BlobStore;
  metadata: MetadataStore;
  /** A local folder for transfers under way; on the same file system as a file store, adopting is a rename. */
  spoolDirectory: string;
  /** Default: one that knows this process only. */
  coordinator?: Coordinator;
}
