import type { BlobStore } from './blob-store.ts';
import type { Coordinator } from './coordinator.ts';
import type { MetadataStore } from './metadata-store.ts';

/** Where a cache keeps what it fetched. Each part may be of another kind. */
export interface Storage {
  blobs: BlobStore;
  metadata: MetadataStore;
  /** A local folder for transfers under way; on the same file system as a file store, adopting is a rename. */
  spoolDirectory: string;
  /**
   * What lets several processes that share `blobs` and `metadata` bring each blob in once, and ask for each tag once: one of
   * them asks the upstream, the others read what comes in there, and one of those goes on where it dies. That works where
   * they share `spoolDirectory`, and among hosts by the option `peers`. Where the coordinator fails, each process goes on by
   * itself. It is closed by whoever made it, after the cache. Default: none, as for a single process.
   */
  coordinator?: Coordinator;
}
