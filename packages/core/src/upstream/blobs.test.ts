import {
  absentDigest,
  type FakeUpstream,
  type Fault,
  manualClock,
  ociError,
  sha256,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Descriptor } from '../oci/descriptor.ts';
import { upstreamSettings } from '../options.ts';
import { collect, discard } from '../runtime/bytes.ts';
import { createClient } from './client.ts';
import type { FetchedBlob, Reply, Upstream } from './upstream.ts';

const repository = 'library/alpine';
const query = { repository, scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal: new AbortController().signal };

let registry: FakeUpstream;
let upstream: Upstream;
let layer: Descriptor;

beforeEach(async () => {
  registry = await startFakeUpstream();
  upstream = createClient(upstreamSettings({ key: 'hub', url: registry.url }), {
    clock: manualClock(),
    observe: () => undefined,
  });
  layer = registry.addImage(repository, { layerSizes: [3_000_000] }).layers[0]!;
});
afterEach(async () => {
  await upstream.close();
  await registry.stop();
});

const answers = (fault: Fault, method?: string) => registry.on({ path: /\/blobs\//, ...(method && { method }) }, fault);

function foundIn<T>(reply: Reply<T>): T {
  if (reply.kind !== 'found') throw new Error(`expected found, received ${JSON.stringify(reply)}`);
  return reply.value;
}
async function bytesOf({ body }: FetchedBlob): Promise<Uint8Array> {
  return (await collect(body, 10_000_000))!;
}

it.each(['"caf\u00e9"', '"a"b"', '"a', 'a', 'W/"a"', '"a b"'])(
  'takes no ETag for a validator that is not strong, or could not be sent back: %s',
  async (etag) => {
    answers({ status: 200, body: 'x', headers: { etag } });
    const blob = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 }));
    expect(blob.validator).toBeUndefined();
    await discard(blob.body);
  },
);

describe('proving a blob', () => {
  it('asks one HEAD and moves no body', async () => {
    expect(await upstream.statBlob({ ...query, digest: layer.digest })).toEqual({
      kind: 'found',
      value: { size: layer.size, named: true },
    });
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD']);
  });

  it.each(['head-404', 'head-405'] as const)(
    'confirms by one GET closed after its headers (%s)',
    async (personality) => {
      registry.change({ personality });
      answers({ stallAfter: 1000 }, 'GET');
      expect(await upstream.statBlob({ ...query, digest: layer.digest })).toEqual({
        kind: 'found',
        value: { size: layer.size, named: true },
      });
      await expect.poll(() => registry.requests[1]?.aborted).toBe(true);
    },
  );

  it("is absent when HEAD and GET say 404 in the registry's own voice", async () => {
    expect(await upstream.statBlob({ ...query, digest: absentDigest() })).toMatchObject({
      kind: 'absent',
      code: 'BLOB_UNKNOWN',
    });
  });

  it('leaves the size out where the registry does not say it', async () => {
    registry.change({ personality: 'no-content-length' });
    expect(await upstream.statBlob({ ...query, digest: layer.digest })).toEqual({
      kind: 'found',
      value: { named: true },
    });
  });

  it('fails where the answer names another digest', async () => {
    answers({ status: 200, body: 'x', headers: { 'docker-content-digest': absentDigest() } });
    await expect(upstream.statBlob({ ...query, digest: layer.digest })).rejects.toMatchObject({
      code: 'digest-mismatch',
    });
  });
});

describe('fetching a blob', () => {
  it('gives the whole with its size and a strong validator', async () => {
    const blob = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 }));
    expect(blob).toMatchObject({ start: 0, total: layer.size, validator: `"${layer.digest}"` });
    expect(sha256(await bytesOf(blob))).toBe(layer.digest);
    expect(registry.requests[0]!.headers).not.toHaveProperty('range');
  });

  it('gives a part from where it was asked', async () => {
    const whole = await bytesOf(foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 })));
    const open = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 2_999_000 }));
    expect(open).toMatchObject({ start: 2_999_000, total: layer.size });
    expect(Buffer.compare(await bytesOf(open), whole.subarray(2_999_000))).toBe(0);
    const part = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0, to: 9 }));
    expect(Buffer.compare(await bytesOf(part), whole.subarray(0, 10))).toBe(0);
  });

  it('says that it starts at 0 where the upstream ignores the range', async () => {
    registry.change({ personality: 'no-ranges' });
    const blob = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 1000 }));
    expect(blob).toMatchObject({ start: 0, total: layer.size });
    expect(sha256(await bytesOf(blob))).toBe(layer.digest);
  });

  it('asks by the validator, and without one where that does not hold', async () => {
    const same = { ...query, digest: layer.digest, from: 10, ifMatch: `"${layer.digest}"` };
    for (const ifMatch of [same.ifMatch, '"other"']) {
      const part = foundIn(await upstream.fetchBlob({ ...same, ifMatch }));
      expect(part).toMatchObject({ start: 10, total: layer.size });
      await discard(part.body);
    }
    expect(registry.requests.map(({ headers }) => [headers.range, headers['if-match']])).toEqual([
      ['bytes=10-', same.ifMatch],
      ['bytes=10-', '"other"'],
      ['bytes=10-', undefined],
    ]);
  });

  it('takes the part of a server that ignores If-Match, whatever its validator', async () => {
    answers({ status: 206, body: 'x', headers: { etag: '"new"', 'content-range': 'bytes 10-10/11' } }, 'GET');
    const asked = { ...query, digest: layer.digest, from: 10, ifMatch: '"old"' };
    expect(foundIn(await upstream.fetchBlob(asked))).toMatchObject({ start: 10, total: 11, validator: '"new"' });
    expect(registry.requests).toHaveLength(1);
  });

  it('gives nothing, with the total, for a part behind the end', async () => {
    const blob = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: layer.size }));
    expect(blob).toMatchObject({ start: layer.size, total: layer.size });
    expect(await bytesOf(blob)).toHaveLength(0);
  });

  it.each(['bytes 0-9/3000000', 'bytes 5-3/10', 'bytes 5-9', undefined])(
    'fails on a part that was not asked for (%s)',
    async (range) => {
      answers({ status: 206, body: '0123456789', headers: range ? { 'content-range': range } : {} });
      await expect(upstream.fetchBlob({ ...query, digest: layer.digest, from: 5 })).rejects.toMatchObject({
        code: 'foreign-answer',
      });
    },
  );

  it('leaves the total out where the upstream does not say it', async () => {
    registry.change({ personality: 'no-content-length' });
    const blob = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 }));
    expect(blob).not.toHaveProperty('total');
    expect(sha256(await bytesOf(blob))).toBe(layer.digest);
  });

  it('is absent where the registry says 404, also for foreign layers that it does not serve', async () => {
    expect(await upstream.fetchBlob({ ...query, digest: absentDigest(), from: 0 })).toMatchObject({ kind: 'absent' });
  });

  it.each(['captive-portal', 'waf', 'html-404'] as const)('fails on the page of a %s', async (personality) => {
    registry.change({ personality });
    await expect(upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 })).rejects.toMatchObject({
      code: 'foreign-answer',
    });
  });

  it('fails where the body breaks off, after the bytes that came', async () => {
    answers({ cutAfter: 100_000, how: 'fin' });
    const { body } = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 }));
    let length = 0;
    const read = async () => {
      for await (const chunk of body) length += chunk.byteLength;
    };
    await expect(read()).rejects.toMatchObject({ code: 'unreachable', upstream: 'hub' });
    expect(length).toBe(100_000);
  });

  it('closes the connection when its body is returned from before it was read', async () => {
    answers({ stallAfter: 10 });
    const { body } = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 }));
    await discard(body);
    await expect.poll(() => registry.requests[0]!.aborted).toBe(true);
  });

  it('is denied where the registry itself says so', async () => {
    answers(ociError(403, 'DENIED', 'not yours'));
    expect(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 })).toEqual({
      kind: 'denied',
      status: 403,
      message: 'not yours',
    });
  });
});

it("gives chunks that are the reader's to keep", async () => {
  const { body } = foundIn(await upstream.fetchBlob({ ...query, digest: layer.digest, from: 0 }));
  const kept: Uint8Array[] = [];
  for await (const chunk of body) kept.push(chunk);
  expect(kept.length).toBeGreaterThan(10);
  expect(sha256(Buffer.concat(kept))).toBe(layer.digest);
});
