import { type Digest, digestHex } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import { type Bytes, begun, discard } from '../runtime/bytes.ts';

/** Parts of a blob as one `multipart/byteranges` body (RFC 9110 14.6). */
export interface Multipart {
  contentType: string;
  /** Of the whole body, in bytes. */
  length: number;
  open(): Bytes;
}

/** `Content-Range` of a part (RFC 9110 14.4); the size is `*` where nobody knows it. */
export function contentRange(part: ByteRange, size: number | undefined): string {
  return `bytes ${part.from}-${part.to}/${size ?? '*'}`;
}

/** Joins the parts of a blob, each read when its turn comes, and before its head leaves. */
export function createMultipart(blob: {
  digest: Digest;
  size: number | undefined;
  parts: readonly ByteRange[];
  read(part: ByteRange): Bytes;
}): Multipart {
  // RFC 2046 5.1.1: the boundary must not occur in what it bounds, and has at most 70 characters. No content can hold
  // its own digest, so none is drawn at random.
  const boundary = digestHex(blob.digest).slice(0, 64);
  const heads = blob.parts.map((part, index) =>
    Buffer.from(
      `${index === 0 ? '' : '\r\n'}--${boundary}\r\n` +
        `Content-Type: ${mediaTypes.blob}\r\nContent-Range: ${contentRange(part, blob.size)}\r\n\r\n`,
    ),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);

  async function* open(): AsyncGenerator<Uint8Array, void, undefined> {
    for (const [index, part] of blob.parts.entries()) {
      const head = heads[index];
      const body = await begun(blob.read(part));
      try {
        if (head) yield head;
        yield* body;
      } finally {
        await discard(body);
      }
    }
    yield tail;
  }

  const content = blob.parts.reduce((sum, part) => sum + part.to - part.from + 1, 0);
  const frame = heads.reduce((sum, head) => sum + head.byteLength, tail.byteLength);
  return { contentType: `multipart/byteranges; boundary=${boundary}`, length: content + frame, open };
}
