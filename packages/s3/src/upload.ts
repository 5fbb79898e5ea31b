import { open, unlink } from 'node:fs/promises';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { type Digest, ProxyCacheError } from '@proxycache/core';
import { attempts } from './attempts.ts';
import { bytesChecksum, digestChecksum, partChecksum } from './file-part.ts';
import { uploadInParts } from './multipart.ts';
import { isConflict } from './s3-failure.ts';
import { checksumKind, sendPart, tellRetried, type Upload, type UploadParts } from './send-part.ts';

const slowestBytesPerMs = 1024;

/** Stores a local file and removes it. S3 checks what arrives; nothing of it is to be seen before all of it is there. */
export async function uploadFile(
  parts: UploadParts,
  { file: path, digest, size, signal }: { file: string; digest: Digest; size: number; signal: AbortSignal },
): Promise<void> {
  const key = parts.keys.blob(digest);
  signal.throwIfAborted();
  const file = await open(path, 'r');
  try {
    const { size: found } = await file.stat();
    if (found !== size) throw new ProxyCacheError('storage-failed', `${path} has ${found} bytes, not ${size}`);
    const upload = { digest, key, file, size, signal };
    await (size > parts.settings.partSize ? uploadInParts(parts, upload) : uploadWhole(parts, upload));
  } finally {
    await file.close();
  }
  await unlink(path).catch((error) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

/** Stores bytes. */
export async function uploadBytes(
  { settings, calls, keys }: UploadParts,
  { digest, bytes, signal }: { digest: Digest; bytes: Uint8Array; signal: AbortSignal },
): Promise<void> {
  const key = keys.blob(digest);
  // Of the bytes, not the digest: a store judges nothing.
  const checksum = bytesChecksum(bytes, await checksumKind(settings));
  const withinMs = settings.answerWithinMs + Math.ceil(bytes.byteLength / slowestBytesPerMs);
  const object = { Bucket: settings.bucket, Key: key, Body: bytes, ...checksum };
  const failed = tellRetried(settings, { digest, part: 1 });
  await attempts({ clock: settings.clock, signal, passes: isConflict, failed }, () =>
    calls.run({ operation: 'PutObject', key, signal, withinMs }, ({ abortSignal }) =>
      settings.client.send(new PutObjectCommand({ ...settings.upload, ...object }), { abortSignal }),
    ),
  );
}

async function uploadWhole(parts: UploadParts, upload: Upload): Promise<void> {
  const { settings } = parts;
  const { digest, key, file, size, signal } = upload;
  const kind = await checksumKind(settings);
  const range = { from: 0, to: size - 1 };
  const checksum = digestChecksum(digest, kind) ?? (await partChecksum(file, range, kind));
  const object = { Bucket: settings.bucket, Key: key, ContentLength: size, ...checksum };
  await sendPart(parts, { ...upload, operation: 'PutObject', number: 1, range, signal }, (Body, given) =>
    settings.client.send(new PutObjectCommand({ ...settings.upload, ...object, Body }), given),
  );
}
