import { feed, seededBytes } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { collect } from '../runtime/bytes.ts';
import { createContentHash } from './content-hash.ts';
import { verifiedStream } from './verified-stream.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

function chunksOf(bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let from = 0; from < bytes.byteLength; from += 64 * KiB) chunks.push(bytes.subarray(from, from + 64 * KiB));
  return chunks;
}

function stream(sent: Uint8Array, { digest = digestOf(sent), total = sent.byteLength as number | undefined } = {}) {
  const body = feed(...chunksOf(sent));
  body.end();
  return { body, stream: verifiedStream(body.bytes, { upstream: 'up', digest, total }) };
}

function hashed(bytes: Uint8Array) {
  const hash = createContentHash(digestOf(bytes));
  hash.update(bytes);
  return hash;
}

/** How many bytes came, and the failure. */
async function drain(bytes: AsyncIterable<Uint8Array>): Promise<{ length: number; code: string | undefined }> {
  let length = 0;
  try {
    for await (const chunk of bytes) length += chunk.byteLength;
    return { length, code: undefined };
  } catch (error) {
    return { length, code: (error as { code: string }).code };
  }
}

const sizes = [1, 10 * KiB, MiB, MiB + 1, 3 * MiB + 5];

describe.each([0, ...sizes])('a blob of %i bytes', (size) => {
  const bytes = seededBytes('passed', size);

  it.each(['known', 'unknown'])('comes through whole, its size %s', async (known) => {
    const digest = digestOf(bytes, known === 'known' ? 'sha256' : 'sha512');
    const got = await collect(stream(bytes, { digest, total: known === 'known' ? size : undefined }).stream, 1e9);
    expect(Buffer.from(got!).equals(bytes)).toBe(true);
  });
});

describe.each(sizes)('a wrong blob of %i bytes', (size) => {
  const bytes = seededBytes('passed', size);

  it.each([0, 0.5, 1])('never looks whole where a byte is wrong, at %f of it', async (where) => {
    const wrong = Uint8Array.from(bytes);
    const at = Math.floor((size - 1) * where);
    wrong[at] = (wrong[at] ?? 0) ^ 1;
    for (const total of [size, undefined]) {
      const got = await drain(stream(wrong, { digest: digestOf(bytes), total }).stream);
      expect(got.code).toBe('digest-mismatch');
      expect(got.length).toBeLessThan(Math.max(size - 60 * KiB, 1));
    }
  });
});

it('fails where more comes than was announced, without taking all of it', async () => {
  const bytes = seededBytes('endless', 8 * MiB);
  const { body, stream: passing } = stream(bytes, { digest: digestOf(bytes), total: 2 * MiB });
  expect(await drain(passing)).toMatchObject({ code: 'digest-mismatch' });
  expect(body.taken).toBe(33);
  expect(body.closed).toBe(true);
});

it('fails where less comes than was announced', async () => {
  const bytes = seededBytes('short', 10);
  expect(await drain(stream(bytes, { total: 11 }).stream)).toEqual({ length: 0, code: 'digest-mismatch' });
});

it('holds single bytes back in blocks', async () => {
  const bytes = seededBytes('single', 100_000);
  async function* singly() {
    for (const byte of bytes) yield Uint8Array.of(byte);
  }
  const chunks: Uint8Array[] = [];
  const options = { upstream: 'up', digest: digestOf(bytes), total: bytes.byteLength };
  for await (const chunk of verifiedStream(singly(), options)) chunks.push(chunk);
  expect(chunks).toHaveLength(7);
  expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
});

it('closes its source when it is left', async () => {
  const { body, stream: passing } = stream(seededBytes('left', 3 * MiB));
  await passing.next();
  await passing.return();
  expect(body.closed).toBe(true);
});

describe('after a prefix that was read before', () => {
  const bytes = seededBytes('prefixed', 3 * MiB);
  const at = MiB + 5;
  const prefix = { length: at, hash: hashed(bytes.subarray(0, at)) };
  const rest = (of: Uint8Array, confirmed?: () => Promise<void>) => {
    const body = feed(...chunksOf(of.subarray(at)));
    body.end();
    return verifiedStream(body.bytes, { upstream: 'up', digest: digestOf(bytes), total: 3 * MiB, prefix, confirmed });
  };

  it('gives the rest, more than once', async () => {
    for (let time = 0; time < 2; time++) {
      expect(Buffer.from((await collect(rest(bytes), 1e9))!).equals(bytes.subarray(at))).toBe(true);
    }
  });

  it('never looks whole where a byte of the rest is wrong', async () => {
    const wrong = Uint8Array.from(bytes);
    wrong[2 * MiB] = (wrong[2 * MiB] ?? 0) ^ 1;
    const got = await drain(rest(wrong));
    expect(got.code).toBe('digest-mismatch');
    expect(got.length).toBeLessThanOrEqual(2 * MiB - 5 - 64 * KiB);
  });

  it('holds its end back until what else it waits for has come, and for good where that fails', async () => {
    const refused = await drain(rest(bytes, () => Promise.reject(Object.assign(new Error(), { code: 'unproven' }))));
    expect(refused.code).toBe('unproven');
    expect(refused.length).toBeLessThanOrEqual(2 * MiB - 5 - 64 * KiB);
    expect(
      Buffer.from(
        (await collect(
          rest(bytes, async () => undefined),
          1e9,
        ))!,
      ).equals(bytes.subarray(at)),
    ).toBe(true);
  });
});

describe('with a witness of what was given before', () => {
  it('that is longer than the blob fails: more was given before than there is', async () => {
    const given = seededBytes('longer', 3 * MiB);
    const witness = { length: 3 * MiB, hash: hashed(given) };
    const sent = seededBytes('whole', 2 * MiB);
    const body = feed(...chunksOf(sent));
    body.end();
    const digest = digestOf(sent);
    const got = await drain(verifiedStream(body.bytes, { upstream: 'up', digest, total: undefined, witness }));
    expect(got.code).toBe('digest-mismatch');
    expect(got.length).toBeLessThan(2 * MiB);
  });

  const bytes = seededBytes('witnessed', 3 * MiB);
  const given = (of: Uint8Array, length: number) => ({
    length,
    hash: hashed(of.subarray(0, length)),
  });

  it.each([1, 64 * KiB, MiB + 5, 3 * MiB])(
    'of %i bytes gives what is the same there, and fails where it is not',
    async (length) => {
      const all = (witness: ReturnType<typeof given>) => {
        const body = feed(...chunksOf(bytes));
        body.end();
        return verifiedStream(body.bytes, { upstream: 'up', digest: digestOf(bytes), total: 3 * MiB, witness });
      };
      expect(Buffer.from((await collect(all(given(bytes, length)), 1e9))!).equals(bytes)).toBe(true);
      const wrong = Uint8Array.from(bytes);
      wrong[length - 1] = (wrong[length - 1] ?? 0) ^ 1;
      const got = await drain(all(given(wrong, length)));
      expect(got.code).toBe('digest-mismatch');
      expect(got.length).toBeLessThan(3 * MiB);
    },
  );
});
