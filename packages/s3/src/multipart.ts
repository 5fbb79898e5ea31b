import { setMaxListeners } from 'node:events';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { type ByteRange, type Digest, ProxyCacheError, pause } from '@proxycache/core';
import { attempts } from './attempts.ts';
import { type Checksum, type ChecksumKind, partChecksum } from './file-part.ts';
import { isNoSuchUpload, refusalOf } from './s3-failure.ts';
import { checksumKind, sendPart, tellRetried, type Upload, type UploadParts } from './send-part.ts';

/** S3 takes no more parts of one object. */
const mostParts = 10_000;
/** S3 may have to put thousands of parts together first. */
const completeWithinMs = 120_000;
/** Until it says that there is no such upload, which not every server does. */
const mostAborts = 3;
const betweenAbortsMs = 100;

/** Stores a file in parts, some at a time. What fails leaves no parts behind, as far as S3 can still be told. */
export async function uploadInParts(parts: UploadParts, upload: Upload): Promise<void> {
  const { settings, calls } = parts;
  const { digest, key, signal } = upload;
  const kind = await checksumKind(settings);
  const object = { Bucket: settings.bucket, Key: key };
  const algorithm = kind === 'crc32' ? { ChecksumAlgorithm: 'CRC32' as const } : {};
  const create = { ...settings.upload, ...object, ...algorithm };
  const failed = tellRetried(settings, { digest });
  // One that was begun, and whose answer was lost, has no parts.
  const { UploadId: uploadId } = await attempts({ clock: settings.clock, signal, failed }, () =>
    calls.run({ operation: 'CreateMultipartUpload', key, signal }, ({ abortSignal }) =>
      settings.client.send(new CreateMultipartUploadCommand(create), { abortSignal }),
    ),
  );
  if (uploadId === undefined) throw new ProxyCacheError('storage-failed', 'S3 began an upload without an id');
  try {
    const done = await sendParts(parts, { ...upload, uploadId, kind });
    await complete(parts, { ...upload, uploadId }, done);
  } catch (error) {
    await giveUp(parts, { digest, key, uploadId });
    throw error;
  }
}

async function complete(
  parts: UploadParts,
  upload: Upload & { uploadId: string },
  done: CompletedPart[],
): Promise<void> {
  const { settings, calls } = parts;
  const { digest, key, uploadId, signal } = upload;
  const given = { Bucket: settings.bucket, Key: key, UploadId: uploadId, MultipartUpload: { Parts: done } };
  const failed = tellRetried(settings, { digest });
  try {
    await attempts({ clock: settings.clock, signal, failed }, () =>
      calls.run(
        { operation: 'CompleteMultipartUpload', key, signal, withinMs: completeWithinMs, rests: false },
        ({ abortSignal }) => settings.client.send(new CompleteMultipartUploadCommand(given), { abortSignal }),
      ),
    );
  } catch (error) {
    // An attempt whose answer was lost may have done it: then many servers know no such upload any more.
    if (!isNoSuchUpload(error) || (await storedSize(parts, upload)) !== upload.size) throw error;
  }
}

/** @returns `undefined`: it is not there */
async function storedSize({ settings, calls }: UploadParts, { key, signal }: Upload): Promise<number | undefined> {
  const command = new HeadObjectCommand({ Bucket: settings.bucket, Key: key });
  try {
    const { ContentLength } = await calls.run({ operation: 'HeadObject', key, signal }, ({ abortSignal }) =>
      settings.client.send(command, { abortSignal }),
    );
    return ContentLength;
  } catch (error) {
    if (error instanceof ProxyCacheError && refusalOf(error.cause)?.status === 404) return undefined;
    throw error;
  }
}

/** Its caller may have left, or may be what ended it. */
async function giveUp(
  { settings, calls }: UploadParts,
  { digest, key, uploadId }: { digest: Digest; key: string; uploadId: string },
): Promise<void> {
  const { signal } = new AbortController();
  const command = new AbortMultipartUploadCommand({ Bucket: settings.bucket, Key: key, UploadId: uploadId });
  try {
    // AWS, AbortMultipartUpload: parts that were under way may arrive after it, and stay until it is asked for again.
    for (let times = 1; times <= mostAborts; times++) {
      if (times > 1) await pause(betweenAbortsMs, settings.clock, signal);
      await calls.run({ operation: 'AbortMultipartUpload', key, signal }, ({ abortSignal }) =>
        settings.client.send(command, { abortSignal }),
      );
    }
  } catch (error) {
    if (!isNoSuchUpload(error)) settings.tell({ type: 's3-upload-left', digest, uploadId, error: error as Error });
  }
}

/** Sends all parts, some at a time. When one fails for good the others are ended, and waited for. */
async function sendParts(
  parts: UploadParts,
  upload: Upload & { uploadId: string; kind: ChecksumKind },
): Promise<CompletedPart[]> {
  const { partSize, parallelParts } = parts.settings;
  const { size, signal } = upload;
  const length = Math.max(partSize, Math.ceil(size / mostParts));
  const count = Math.ceil(size / length);
  const controller = new AbortController();
  // All parts listen on it.
  setMaxListeners(0, controller.signal);
  const leave = () => controller.abort(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  const done: CompletedPart[] = [];
  let begun = 0;
  async function work(): Promise<void> {
    while (begun < count) {
      const number = ++begun;
      const from = (number - 1) * length;
      const range = { from, to: Math.min(from + length, size) - 1 };
      done[number - 1] = await uploadPart(parts, { ...upload, number, range, signal: controller.signal });
    }
  }
  const workers = Array.from({ length: Math.min(parallelParts, count) }, () =>
    work().catch((error) => {
      controller.abort(error);
      throw error;
    }),
  );
  try {
    await Promise.allSettled(workers);
    await Promise.all(workers);
  } finally {
    signal.removeEventListener('abort', leave);
  }
  signal.throwIfAborted();
  return done;
}

type Part = Upload & { uploadId: string; kind: ChecksumKind; number: number; range: ByteRange };

async function uploadPart(parts: UploadParts, part: Part): Promise<CompletedPart> {
  const { settings } = parts;
  const { key, uploadId, kind, number, range, file, signal } = part;
  const checksum: Checksum = await partChecksum(file, range, kind);
  const named = { Bucket: settings.bucket, Key: key, UploadId: uploadId, PartNumber: number };
  const command = { ...named, ContentLength: range.to + 1 - range.from, ...checksum };
  const { ETag } = await sendPart(parts, { ...part, operation: 'UploadPart', signal }, (Body, given) =>
    settings.client.send(new UploadPartCommand({ ...command, Body }), given),
  );
  return {
    PartNumber: number,
    ...(ETag !== undefined && { ETag }),
    ...('ChecksumCRC32' in checksum && { ChecksumCRC32: checksum.ChecksumCRC32 }),
  };
}
