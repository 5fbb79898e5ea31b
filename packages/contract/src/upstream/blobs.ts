import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { digestOf } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { bytesOf, found, type MakeUpstream, upstreamCase } from './harness.ts';

const mebibyte = 1024 * 1024;

/** Rules of `statBlob` and `fetchBlob`. */
export const blobCases: Contract<MakeUpstream> = [
  upstreamCase('says whether a repository has a blob, and its size', async ({ upstream, putBlob, query }) => {
    for (const size of [0, 1, 70_000]) {
      const digest = await putBlob(query.repository, randomBytes(size));
      const said = found(await upstream.statBlob({ ...query, digest }));
      assert.equal(said.size ?? size, size);
      const reply = await upstream.statBlob({ ...query, repository: 'library/other', digest });
      if (size > 0) assert.equal(reply.kind, 'absent', JSON.stringify(reply));
    }
  }),

  upstreamCase('tells a blob that is not there as absent', async ({ upstream, putBlob, query }) => {
    const digest = await putBlob(query.repository, randomBytes(100));
    const none = digestOf(randomBytes(10));
    const other = { ...query, repository: 'library/other' };
    for (const asked of [
      upstream.statBlob({ ...query, digest: none }),
      upstream.fetchBlob({ ...query, digest: none, from: 0 }),
      upstream.fetchBlob({ ...other, digest, from: 0 }),
      upstream.fetchBlob({ ...other, digest, from: 50 }),
    ]) {
      const reply = await asked;
      assert.equal(reply.kind, 'absent', JSON.stringify(reply));
    }
  }),

  upstreamCase('gives a blob byte for byte, in chunks that stay what they were', async (fixture) => {
    const { upstream, putBlob, query } = fixture;
    for (const size of [0, 1, 65_536, 12 * mebibyte + 1]) {
      const bytes = randomBytes(size);
      const digest = await putBlob(query.repository, bytes);
      const blob = found(await upstream.fetchBlob({ ...query, digest, from: 0 }));
      assert.equal(blob.start, 0);
      assert.equal(blob.total ?? size, size);
      assert.equal(digestOf(await bytesOf(blob)), digest);
    }
  }),

  upstreamCase('gives the rest of a blob from a position, or says that it begins anew', async (fixture) => {
    const { upstream, putBlob, query } = fixture;
    const bytes = randomBytes(300_000);
    const digest = await putBlob(query.repository, bytes);
    const { validator, body } = found(await upstream.fetchBlob({ ...query, digest, from: 0 }));
    await body[Symbol.asyncIterator]().return?.();
    for (const ifMatch of [undefined, validator, '"another one"']) {
      for (const from of [1, 150_000, 299_999]) {
        const blob = found(await upstream.fetchBlob({ ...query, digest, from, ...(ifMatch && { ifMatch }) }));
        assert.ok(blob.start === from || blob.start === 0, `${blob.start} where ${from} was asked for`);
        assert.equal(blob.total ?? bytes.byteLength, bytes.byteLength);
        assert.deepEqual(await bytesOf(blob), bytes.subarray(blob.start));
      }
    }
  }),

  upstreamCase('gives a part of a blob, or more of it', async ({ upstream, putBlob, query }) => {
    const bytes = randomBytes(300_000);
    const digest = await putBlob(query.repository, bytes);
    for (const [from, to] of [
      [0, 0],
      [10, 99_999],
      [200_000, 299_999],
    ] as const) {
      const blob = found(await upstream.fetchBlob({ ...query, digest, from, to }));
      const got = await bytesOf(blob);
      assert.ok(blob.start <= from && blob.start + got.byteLength > to, `${blob.start} for ${got.byteLength} bytes`);
      assert.deepEqual(got, bytes.subarray(blob.start, blob.start + got.byteLength));
    }
  }),

  upstreamCase('says that there is nothing behind the last byte', async ({ upstream, putBlob, query }) => {
    const bytes = randomBytes(1_000);
    const digest = await putBlob(query.repository, bytes);
    const blob = found(await upstream.fetchBlob({ ...query, digest, from: 1_000 }));
    const got = await bytesOf(blob);
    if (blob.start === 0) assert.deepEqual(got, bytes);
    else assert.deepEqual([blob.total, got.byteLength], [1_000, 0]);
  }),

  upstreamCase('lets go of a body that is left, unread or half-way, again and again', async (fixture) => {
    const { upstream, putBlob, query } = fixture;
    const bytes = randomBytes(4 * mebibyte);
    const digest = await putBlob(query.repository, bytes);
    for (let turn = 0; turn < 40; turn++) {
      const { body } = found(await upstream.fetchBlob({ ...query, digest, from: 0 }));
      const chunks = body[Symbol.asyncIterator]();
      if (turn % 2) await chunks.next();
      await chunks.return?.();
      assert.equal((await chunks.next()).done, true);
    }
    // None of them is in the way.
    assert.deepEqual(await bytesOf(found(await upstream.fetchBlob({ ...query, digest, from: 0 }))), bytes);
  }),

  upstreamCase('gives many blobs at the same time, to each reader its own', async ({ upstream, putBlob, query }) => {
    const digests = await Promise.all(
      Array.from({ length: 12 }, (_, at) => putBlob(query.repository, Buffer.alloc(500_000 + at, at))),
    );
    const got = await Promise.all(
      digests.map(async (digest) =>
        digestOf(await bytesOf(found(await upstream.fetchBlob({ ...query, digest, from: 0 })))),
      ),
    );
    assert.deepEqual(got, digests);
  }),

  upstreamCase('ends a body when its signal fires, and never as if it were whole', async (fixture) => {
    const { upstream, putBlob, query } = fixture;
    const digest = await putBlob(query.repository, randomBytes(32 * mebibyte));
    const controller = new AbortController();
    const { body } = found(await upstream.fetchBlob({ ...query, digest, from: 0, signal: controller.signal }));
    const chunks = body[Symbol.asyncIterator]();
    assert.equal((await chunks.next()).done ?? false, false);
    controller.abort(new Error('gave up'));
    await assert.rejects(async () => {
      while (!(await chunks.next()).done);
    });
  }),
];
