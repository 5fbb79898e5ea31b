import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createDigestHash,
  type Digest,
  digestAlgorithm,
  digestHex,
  digestOf,
  finishDigest,
  isDigest,
  parseDigest,
} from './digest.ts';

const algorithm = fc.constantFrom('sha256', 'sha512');

describe('isDigest', () => {
  it('agrees with the grammar on texts that are almost digests', () => {
    const legal = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
    const name = fc.constantFrom('sha256', 'sha512', 'SHA256', 'sha384', 'md5', 'constructor', '__proto__', '');
    const length = fc.constantFrom(0, 1, 63, 64, 65, 127, 128, 129);
    const odd = fc.option(
      fc.tuple(fc.nat({ max: 200 }), fc.constantFrom('g', 'A', '/', ':', '`', '\n', 'é', '\u0130')),
      {
        nil: undefined,
      },
    );
    fc.assert(
      fc.property(name, fc.constantFrom(':', '', '::', '-'), length, odd, (n, separator, size, change) => {
        let text = n + separator + 'a0f9'.repeat(40).slice(0, size);
        if (change) text = text.slice(0, change[0]) + change[1] + text.slice(change[0] + 1);
        expect(isDigest(text)).toBe(legal.test(text));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('parseDigest', () => {
  it('takes the digest of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), algorithm, (bytes, name) => {
        const digest = digestOf(bytes, name);
        expect(parseDigest(digest)).toBe(digest);
        expect(`${digestAlgorithm(digest)}:${digestHex(digest)}`).toBe(digest);
        expect(digestHex(digest)).toBe(createHash(name).update(bytes).digest('hex'));
      }),
    );
  });

  it('refuses anything else with what it received, cut short', () => {
    expect(() => parseDigest('latest')).toThrow(/received "latest"/);
    try {
      parseDigest('x'.repeat(10_000));
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 'digest-invalid' });
      expect((error as Error).message.length).toBeLessThan(300);
    }
  });
});

describe('createDigestHash', () => {
  it("hashes by the digest's own algorithm, in any number of pieces", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array(), { maxLength: 5 }), algorithm, (pieces, name) => {
        const digest: Digest = digestOf(Buffer.concat(pieces), name);
        const hash = createDigestHash(digest);
        for (const piece of pieces) hash.update(piece);
        expect(finishDigest(hash, digestAlgorithm(digest))).toBe(digest);
      }),
    );
  });
});
