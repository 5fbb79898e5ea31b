import type { BlobStore, ByteRange, Digest } from '@proxycache/core';

/** What a store has of a blob; `undefined`: it is not stored. */
export async function readAll(store: BlobStore, digest: Digest, range?: ByteRange): Promise<Buffer | undefined> {
  const { signal } = new AbortController();
  const blob = await store.open(digest, { ...(range && { range }), signal });
  if (blob?.kind !== 'stream') return undefined;
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of blob.body) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  } finally {
    await blob.close();
  }
}
