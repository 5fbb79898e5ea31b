import type { Duration } from '../runtime/duration.ts';
import type { SecretOf } from '../upstream/credentials.ts';

/** How changes of upstreams are kept. */
export interface PersistUpstreamsOptions {
  /**
   * At least 32 bytes, by which secrets are encrypted where they are stored: the same for all that share the storage, and not
   * kept beside it. Default: secrets are not stored, and only upstreams without any can be added.
   */
  encryptionKey?: string | Uint8Array;
  /** Gives what the `auth: { reference }` of an upstream stands for, when it is needed: from a vault, say. Default: none is had. */
  secretOf?: SecretOf;
  /** How often the store is looked at for changes that nobody told of. Default 10 s. */
  refreshEvery?: Duration;
}
