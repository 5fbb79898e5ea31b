import { ListObjectsV2Command, type ListObjectsV2CommandOutput, type _Object as S3Object } from '@aws-sdk/client-s3';
import { type Digest, ProxyCacheError, type StoredBlob } from '@proxycache/core';
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
export const listWithinMs = 60_000;

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
  let after = start;
  let token: string | undefined;
  for (;;) {
    const place = { Prefix: prefix, StartAfter: after, ContinuationToken: token };
    const page = await calls.run(
      { operation: 'ListObjectsV2', key: prefix, signal, withinMs: listWithinMs, rests: false },
      ({ abortSignal }) =>
        settings.client.send(new ListObjectsV2Command({ Bucket: settings.bucket, ...place }), { abortSignal }),
    );
    const objects = page.Contents ?? [];
    for (const object of objects) {
      signal.throwIfAborted();
      yield object;
    }
    if (page.IsTruncated !== true) return;
    // A key, not the server's token: what came and went meanwhile does not matter.
    const last = objects.at(-1)?.Key;
    after = last ?? after;
    token = last === undefined ? nextToken(page, token) : undefined;
  }
}

/** How an empty page goes on: a server may look at many names of which it shows none. */
function nextToken({ NextContinuationToken: next }: ListObjectsV2CommandOutput, before: string | undefined): string {
  if (next !== undefined && next !== before) return next;
  throw brokenOff();
}

/** What a page is thrown as that is not the last one, and leads nowhere. */
export const brokenOff = (): ProxyCacheError =>
  new ProxyCacheError('storage-failed', 'S3 broke off a listing without saying how it goes on');
