import type { BlobStore, MetadataStore, OpenBlob, Storage } from '@proxycache/core';
import { flakyBytes, type Trouble, troubles } from './trouble.ts';

/** What can be made to fail: a call of a store, or a read of a blob that was opened. */
export type StoreOperation = `blobs.${keyof BlobStore | 'read'}` | `metadata.${keyof MetadataStore}`;

/** A storage with the means to make it fail. */
export interface FlakyStorage extends Storage {
  /** Makes calls of `operation` fail or wait, `times` of them (default: all), until `heal`. The latest word holds. */
  on(operation: StoreOperation, trouble: Trouble & { times?: number }): void;
  /** Ends the trouble of one operation, or of all; calls that hang go on. */
  heal(operation?: StoreOperation): void;
  /** How often an operation was called, also when it failed. */
  calls(operation: StoreOperation): number;
  /** How many bytes were read of blobs that are files. */
  bytesRead(): number;
  /** Blobs opened and not closed yet: 0 when nothing leaks. */
  openBlobs(): number;
}

/** Wraps a storage so that a test can make any of its operations throw, hang or wait, and count its calls. */
export function flakyStore(storage: Storage): FlakyStorage {
  const state = troubles<StoreOperation>();
  const { enter } = state;
  let open = 0;
  let bytesRead = 0;

  function watched(blob: OpenBlob, signal: AbortSignal): OpenBlob {
    open++;
    let closed = false;
    async function close(): Promise<void> {
      if (!closed) open--;
      closed = true;
      await blob.close();
    }
    if (blob.kind === 'stream') {
      return { ...blob, body: flakyBytes(blob.body, () => enter('blobs.read', signal)), close };
    }
    return {
      ...blob,
      async read(into, position) {
        // The signal of open() ended with it: a read that hangs ends by heal().
        await enter('blobs.read');
        const length = await blob.read(into, position);
        bytesRead += length;
        return length;
      },
      close,
    };
  }

  const blobs: BlobStore = {
    async open(digest, options) {
      await enter('blobs.open', options.signal);
      const blob = await storage.blobs.open(digest, options);
      return blob && watched(blob, options.signal);
    },
    async adopt(blob) {
      await enter('blobs.adopt', blob.signal);
      await storage.blobs.adopt(blob);
    },
    async put(blob) {
      await enter('blobs.put', blob.signal);
      await storage.blobs.put(blob);
    },
    async delete(digest, options) {
      await enter('blobs.delete', options.signal);
      return await storage.blobs.delete(digest, options);
    },
    async quarantine(digest, options) {
      await enter('blobs.quarantine', options.signal);
      return await storage.blobs.quarantine(digest, options);
    },
    async *digests(options) {
      await enter('blobs.digests', options.signal);
      yield* storage.blobs.digests(options);
    },
  };

  const metadata: MetadataStore = {
    async get(key, options) {
      await enter('metadata.get', options.signal);
      return await storage.metadata.get(key, options);
    },
    async getMany(keys, options) {
      await enter('metadata.getMany', options.signal);
      return await storage.metadata.getMany(keys, options);
    },
    async set(key, value, options) {
      await enter('metadata.set', options.signal);
      return await storage.metadata.set(key, value, options);
    },
    async delete(key, options) {
      await enter('metadata.delete', options.signal);
      return await storage.metadata.delete(key, options);
    },
    async list(prefix, options) {
      await enter('metadata.list', options.signal);
      return await storage.metadata.list(prefix, options);
    },
  };

  return {
    ...storage,
    blobs,
    metadata,
    on: state.on,
    heal: state.heal,
    calls: state.calls,
    bytesRead: () => bytesRead,
    openBlobs: () => open,
  };
}
