import { ListObjectsV2Command, type _Object as S3Object } from '@aws-sdk/client-s3';
import type { Digest, StoredBlob } from '@proxycache/core';
import type { Calls } from './calls.ts';
import type { ObjectKeys } from './object-keys.ts';
import type { S3Settings } from './settings.ts';
import { storedAt } from './stored-at.ts';

/** What listing needs. */
export interface ListParts {
  settings: S3Settings;
  calls: Calls;
  keys: ObjectKeys;
}

/** A server over a folder may look at all names for a page of them. */
const listWithinMs = 60_000;

/** Blobs in ascending order of their digests. */
export async function* listBlobs(
  parts: ListParts,
  { after, signal }: { after: Digest | undefined; signal: AbortSignal },
): AsyncGenerator<StoredBlob, void, undefined> {
  const { keys } = parts;
  const start = after === undefined ? undefined : keys.blob(after);
  for await (const { Key = '', Size = 0, LastModified } of listObjects(parts, { prefix: keys.blobs, start, signal })) {
    const digest = keys.digest(Key);
    if (digest !== undefined) yield { digest, size: Size, storedAt: storedAt(LastModified) };
  }
}

/** Objects in the order of their keys, a page of them in memory at a time. */
export async function* listObjects(
  { settings, calls }: ListParts,
  { prefix, start, signal }: { prefix: string; start?: string | undefined; signal: AbortSignal },
): AsyncGenerator<S3Object, void, undefined> {
  for (let after = start; ; ) {
    const page = await calls.run(
      { operation: 'ListObjectsV2', key: prefix, signal, withinMs: listWithinMs, rests: false },
      ({ abortSignal }) => {
        const command = new ListObjectsV2Command({ Bucket: settings.bucket, Prefix: prefix, StartAfter: after });
        return settings.client.send(command, { abortSignal });
      },
    );
    const objects = page.Contents ?? [];
    for (const object of objects) {
      signal.throwIfAborted();
      yield object;
    }
    // A key, not the server's token: what came and went meanwhile does not matter.
    after = objects.at(-1)?.Key;
    if (page.IsTruncated !== true || after === undefined) return;
  }
}
