import { type BlobStore, type Duration, parseDuration } from '@proxycache/core';
import { createCalls } from './calls.ts';
import { listBlobs } from './list-objects.ts';
import { objectKeys } from './object-keys.ts';
import { openObject } from './read-object.ts';
import { deleteBlob, quarantineBlob } from './remove-object.ts';
import { checkS3Options, type S3BlobsOptions } from './settings.ts';
import { createKeyedTurns, createTurns } from './turns.ts';
import { abortUploads } from './unfinished.ts';
import { uploadBytes, uploadFile } from './upload.ts';

/** Blobs in a bucket. */
export interface S3Blobs extends BlobStore {
  /**
   * Removes the parts of uploads that were never finished, as a killed process leaves them. A lifecycle rule of the bucket
   * does the same by itself.
   *
   * @param options.olderThan how long ago they must have begun; those under way are younger. Default: 1 day
   * @returns how many uploads were removed
   */
  abortUnfinished(options: { olderThan?: Duration; signal: AbortSignal }): Promise<number>;
  /** Ends a client that was made for it, and what is under way; calls fail from now on. One of the host's own stays open. */
  close(): Promise<void>;
}

/** Parts that go up at a time, of all blobs. */
const mostUploads = 32;

/**
 * A blob store in S3, or in what speaks its API, that any number of processes may share. A blob is uploaded from its
 * verified file, in parts, each of which S3 checks and which is sent again where that fails; it appears whole. No call
 * takes longer than `answerWithin`, or than it gets on; a page of a listing may take a minute.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function s3Blobs(options: S3BlobsOptions): S3Blobs {
  const settings = checkS3Options(options);
  const calls = createCalls(settings);
  const parts = { settings, calls, keys: objectKeys(settings.prefix), turns: createTurns(mostUploads) };
  // Looking at an object and removing it are two calls.
  const oneAtATime = createKeyedTurns();
  return {
    open: async (digest, options) => await openObject(parts, { digest, ...options }),
    adopt: async (blob) => await uploadFile(parts, blob),
    put: async (blob) => await uploadBytes(parts, blob),
    delete: async (digest, { unlessStoredAfter, signal }) =>
      await oneAtATime(digest, signal, () => deleteBlob(parts, { digest, unlessStoredAfter, signal })),
    quarantine: async (digest, { unlessStoredAfter, signal }) =>
      await oneAtATime(digest, signal, () => quarantineBlob(parts, { digest, unlessStoredAfter, signal })),
    digests: ({ after, signal }) => listBlobs(parts, { after, signal }),
    async abortUnfinished({ olderThan = '1d', signal }) {
      return await abortUploads(parts, { before: settings.clock.now() - parseDuration(olderThan), signal });
    },
    async close() {
      calls.end();
      if (settings.isOwnClient) settings.client.destroy();
    },
  };
}
