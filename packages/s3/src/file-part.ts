import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { type ByteRange, type Digest, ProxyCacheError } from '@proxycache/core';

/** What S3 is to hold the bytes of an object, or a part of one, against. */
export type Checksum =
  | { ChecksumAlgorithm: 'SHA256'; ChecksumSHA256: string }
  | { ChecksumAlgorithm: 'CRC32'; ChecksumCRC32: string }
  | { ContentMD5: string };

/** Which checksums a server knows: `md5` is as old as S3. */
export type ChecksumKind = 'crc32' | 'md5';

const chunkSize = 256 * 1024;

/** A part of a file, in chunks that are the consumer's. @throws ProxyCacheError `storage-failed` where the file is shorter */
async function* readPart(
  file: FileHandle,
  { from, to }: ByteRange,
  headway: () => void,
): AsyncGenerator<Buffer, void, undefined> {
  for (let at = from; at <= to; ) {
    const chunk = Buffer.allocUnsafe(Math.min(chunkSize, to + 1 - at));
    const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, at);
    if (bytesRead === 0) throw new ProxyCacheError('storage-failed', `the file to upload ends at ${at} bytes`);
    at += bytesRead;
    headway();
    yield chunk.subarray(0, bytesRead);
  }
}

/** The same as a stream of `from` to `to`. Ending it leaves the file open. */
export function partStream(file: FileHandle, part: ByteRange, headway: () => void): Readable {
  return Readable.from(readPart(file, part, headway), { objectMode: false, highWaterMark: chunkSize });
}

/** Reads a part of a file for its checksum, so that it can go before the bytes. */
export async function partChecksum(file: FileHandle, part: ByteRange, kind: ChecksumKind): Promise<Checksum> {
  const running = startChecksum(kind);
  for await (const chunk of readPart(file, part, () => undefined)) running.update(chunk);
  return running.finish();
}

/** The checksum of bytes at hand. */
export function bytesChecksum(bytes: Uint8Array, kind: ChecksumKind): Checksum {
  const running = startChecksum(kind);
  running.update(bytes);
  return running.finish();
}

/** The digest itself, where S3 knows its algorithm. */
export function digestChecksum(digest: Digest, kind: ChecksumKind): Checksum | undefined {
  const [algorithm, hex = ''] = digest.split(':');
  if (kind !== 'crc32' || algorithm !== 'sha256') return undefined;
  return { ChecksumAlgorithm: 'SHA256', ChecksumSHA256: Buffer.from(hex, 'hex').toString('base64') };
}

function startChecksum(kind: ChecksumKind): { update(bytes: Uint8Array): void; finish(): Checksum } {
  if (kind === 'md5') {
    const hash = createHash('md5');
    return {
      update: (bytes) => void hash.update(bytes),
      finish: () => ({ ContentMD5: hash.digest('base64') }),
    };
  }
  let crc = 0;
  return {
    update(bytes) {
      crc = crc32(bytes, crc);
    },
    finish() {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(crc);
      return { ChecksumAlgorithm: 'CRC32', ChecksumCRC32: bytes.toString('base64') };
    },
  };
}
