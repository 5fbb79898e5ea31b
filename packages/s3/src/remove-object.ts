import { CopyObjectCommand, DeleteObjectCommand, HeadBucketCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import { type Digest, isProxyCacheError } from '@proxycache/core';
import { type ListParts, listObjects } from './list-objects.ts';
import { refusalOf } from './s3-failure.ts';
import { storedAt } from './stored-at.ts';

/** Which blob, and what it must not be. */
export interface Removal {
  digest: Digest;
  unlessStoredAfter: number | undefined;
  signal: AbortSignal;
}

/** Copies of larger ones need parts: they are deleted. */
const largestCopy = 5 * 1024 ** 3;
const copyBytesPerMs = 1024;
const mostKept = 100;
const mostBytes = 1024 ** 3;
const keptForMs = 7 * 86_400_000;

/** @returns whether it was there, and not too new */
export async function deleteBlob(parts: ListParts, removal: Removal): Promise<boolean> {
  const found = await look(parts, removal);
  return found !== undefined && (await remove(parts, found, removal.signal));
}

/** Keeps a bounded number of wrong blobs for a person to look at. @returns as {@link deleteBlob} */
export async function quarantineBlob(parts: ListParts, removal: Removal): Promise<boolean> {
  const { settings, calls, keys } = parts;
  const { digest, signal } = removal;
  const found = await look(parts, removal);
  if (found === undefined) return false;
  const { key, etag, size } = found;
  if (size <= largestCopy) {
    const withinMs = settings.answerWithinMs + Math.ceil(size / copyBytesPerMs);
    await calls.run({ operation: 'CopyObject', key, signal, withinMs }, ({ abortSignal }) => {
      const command = new CopyObjectCommand({
        Bucket: settings.bucket,
        Key: keys.quarantine(digest, settings.clock.now()),
        CopySource: `${settings.bucket}/${encodeURI(key)}`,
        CopySourceIfMatch: etag,
      });
      return settings.client.send(command, { abortSignal });
    });
  }
  const taken = await remove(parts, found, signal);
  // What is kept too long does no harm.
  await trim(parts, signal).catch(() => signal.throwIfAborted());
  return taken;
}

interface Found {
  key: string;
  etag: string | undefined;
  size: number;
}

async function look(
  { settings, calls, keys }: ListParts,
  { digest, unlessStoredAfter = Number.POSITIVE_INFINITY, signal }: Removal,
): Promise<Found | undefined> {
  const key = keys.blob(digest);
  const object = { Bucket: settings.bucket, Key: key };
  try {
    const head = await calls.run({ operation: 'HeadObject', key, signal }, (given) =>
      settings.client.send(new HeadObjectCommand(object), { abortSignal: given.abortSignal }),
    );
    if (storedAt(head.LastModified) > unlessStoredAfter) return undefined;
    return { key, etag: head.ETag, size: head.ContentLength ?? 0 };
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
  }
  // An answer to HEAD does not say what it is that is not there.
  await calls.run({ operation: 'HeadBucket', signal }, ({ abortSignal }) =>
    settings.client.send(new HeadBucketCommand({ Bucket: settings.bucket }), { abortSignal }),
  );
  return undefined;
}

/** @returns whether it was still that object */
async function remove({ settings, calls }: ListParts, { key, etag }: Found, signal: AbortSignal): Promise<boolean> {
  const send = (condition: { IfMatch?: string }) =>
    calls.run({ operation: 'DeleteObject', key, signal }, ({ abortSignal }) => {
      const command = new DeleteObjectCommand({ Bucket: settings.bucket, Key: key, ...condition });
      return settings.client.send(command, { abortSignal });
    });
  try {
    await send(etag === undefined ? {} : { IfMatch: etag });
  } catch (error) {
    const status = statusOf(error);
    // Another took its place, or took it away.
    if (status === 412 || status === 404) return false;
    if (status !== 501) throw error;
    await send({});
  }
  return true;
}

async function trim(parts: ListParts, signal: AbortSignal): Promise<void> {
  const { settings, keys } = parts;
  const kept: { key: string; at: number; size: number }[] = [];
  for await (const { Key: key = '', Size: size = 0 } of listObjects(parts, { prefix: keys.quarantined, signal })) {
    const at = /\.(\d+)$/.exec(key)?.[1];
    if (at !== undefined) kept.push({ key, at: Number(at), size });
  }
  kept.sort((a, b) => b.at - a.at);
  const oldest = settings.clock.now() - keptForMs;
  let bytes = 0;
  for (const [index, { key, at, size }] of kept.entries()) {
    const fits = index < mostKept && bytes + size <= mostBytes && at >= oldest;
    if (fits) bytes += size;
    else await remove(parts, { key, etag: undefined, size }, signal);
  }
}

function statusOf(error: unknown): number | undefined {
  return refusalOf(isProxyCacheError(error) ? error.cause : error)?.status;
}
