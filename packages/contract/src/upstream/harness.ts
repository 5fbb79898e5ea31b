import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import type { Descriptor, Digest, FetchedBlob, Reply, Upstream } from '@proxycache/core';
import type { ContractCase } from '../contract.ts';

/** An upstream, and the registry behind it. What is put there is there at once. */
export interface UpstreamUnderTest {
  upstream: Upstream;
  /** The time by which it keeps deadlines, in ms. */
  monotonic(): number;
  putBlob(repository: string, bytes: Uint8Array): Digest | Promise<Digest>;
  /** Stores a manifest: bytes as they are, anything else as JSON. */
  putManifest(
    repository: string,
    manifest: Uint8Array | object,
    options: { mediaType: string; tags?: readonly string[] },
  ): Descriptor | Promise<Descriptor>;
  /** Ends the registry: nobody answers where it was. */
  endRegistry(): Promise<void>;
  /** Ends what is left. */
  close(): Promise<void>;
}

/** Makes an upstream of an empty registry that has the referrers API. */
export type MakeUpstream = () => Promise<UpstreamUnderTest>;

/** What every query has. */
export type CommonQuery = { repository: string; scope: string; deadlineAt: number; signal: AbortSignal };

/** What a case works with. */
export interface UpstreamFixture extends Omit<UpstreamUnderTest, 'close'> {
  query: CommonQuery;
}

const repository = 'library/app';
export const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** A case that runs on a fresh upstream. */
export function upstreamCase(
  name: string,
  check: (fixture: UpstreamFixture) => Promise<void>,
): ContractCase<MakeUpstream> {
  return {
    name,
    async run(make) {
      const { close, ...made } = await make();
      const { signal } = new AbortController();
      // A case uses it for many calls at a time.
      setMaxListeners(0, signal);
      const query = { repository, scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal };
      try {
        await check({ ...made, query });
      } finally {
        await made.upstream.close();
        await close();
      }
    },
  };
}

/** What was found. */
export function found<T>(reply: Reply<T>): T {
  assert.equal(reply.kind, 'found', JSON.stringify(reply));
  return (reply as Extract<Reply<T>, { kind: 'found' }>).value;
}

/** All that a body gives. Its chunks are kept as they came: they are the reader's. */
export async function bytesOf({ body }: FetchedBlob): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A manifest of an image that has these blobs. */
export function imageOf(...layers: readonly Digest[]): object {
  const descriptor = (digest: Digest) => ({ mediaType: 'application/octet-stream', digest, size: 1 });
  return {
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptor(layers[0] ?? `sha256:${'0'.repeat(64)}`),
    layers: layers.map(descriptor),
  };
}
