import { type Digest, digestOf } from '@proxycache/core';
import { type S3Blobs, s3Blobs } from '@proxycache/s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type FaultProxy, type S3Fault, startFaultProxy } from './fault-proxy.ts';
import { type S3Server, startS3Server } from './s3-server.ts';

const { signal } = new AbortController();
const contents = ['a', 'b', 'c', 'd'].map((text) => Buffer.from(text));
const digests = contents.map((bytes) => digestOf(bytes)).sort();

describe('listings of S3', () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let store: S3Blobs;
  let prefix: string;
  let stores = 0;

  beforeAll(async () => {
    server = await startS3Server();
    proxy = await startFaultProxy(server);
  });
  beforeEach(async () => {
    prefix = `listings-${stores++}/`;
    const options = { ...server.config, endpoint: proxy.endpoint };
    store = s3Blobs({ bucket: server.bucket, prefix, options, answerWithin: '20s' });
    for (const bytes of contents) await store.put({ digest: digestOf(bytes), bytes, signal });
  });
  afterEach(async () => {
    proxy.faultOf = () => undefined;
    await store.close();
  });
  afterAll(async () => {
    await proxy?.close();
    await server?.close();
  });

  /** A page that is not the last one. */
  function page(shown: readonly Digest[], token?: string): S3Fault {
    const objects = shown.map((digest) => {
      const key = `${prefix}blobs/${digest.replace(':', '/')}`;
      return `<Contents><Key>${key}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>`;
    });
    const next = token === undefined ? '' : `<NextContinuationToken>${token}</NextContinuationToken>`;
    const xml = `<ListBucketResult><IsTruncated>true</IsTruncated>${next}${objects.join('')}</ListBucketResult>`;
    return { kind: 'document', xml };
  }

  /** Answers the listing's first requests with these pages. @returns what the requests asked for */
  function begin(pages: S3Fault[]): URLSearchParams[] {
    const asked: URLSearchParams[] = [];
    proxy.faultOf = ({ method, path }) => {
      const { searchParams } = new URL(path, server.endpoint);
      if (method !== 'GET' || !searchParams.has('list-type')) return undefined;
      asked.push(searchParams);
      return pages.shift();
    };
    return asked;
  }

  async function listed(after?: Digest): Promise<string[]> {
    const all: string[] = [];
    for await (const { digest } of store.digests({ ...(after && { after }), signal })) all.push(digest);
    return all;
  }

  test('a listing goes on after an empty page that was not the last one', async () => {
    const [first, second] = digests as [Digest, Digest];
    const asked = begin([page([], 'one'), page([], 'two'), page([second], 'three')]);
    expect(await listed(first)).toEqual(digests.slice(1));
    const start = asked[0]?.get('start-after');
    expect(start).toContain(first.slice(-64));
    expect(asked.map((query) => query.get('continuation-token'))).toEqual([null, 'one', 'two', null]);
    // By a key again, as soon as there is one.
    expect(asked.at(-1)?.get('start-after')).toContain(second.slice(-64));
  });

  test.each([
    ['names no way on', [undefined]],
    ['repeats itself', ['one', 'one']],
  ])('an empty page that %s fails the listing', async (_, tokens) => {
    begin(tokens.map((token) => page([], token)));
    await expect(listed()).rejects.toMatchObject({ code: 'storage-failed', message: /broke off a listing/ });
  });
});
