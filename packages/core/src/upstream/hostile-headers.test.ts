import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { essenceOf, isIndexType, isManifestType, isSchema1Type } from '../oci/media-type.ts';
import { parseChallenges } from './challenge.ts';
import { parseContentRange, parseUnsatisfied } from './content-range.ts';
import { RealmRefused, readChallenge } from './known-challenge.ts';
import { nextPageQuery } from './link-header.ts';
import { parseRetryAfter } from './rate-limit.ts';
import { redact } from './redact.ts';

const base = new URL('https://registry.example/v2/a/tags/list?n=2');
const now = Date.UTC(2026, 0, 1);

/** Text of the pieces that a header's grammar is made of, in any order. */
const madeOf = (...pieces: readonly string[]) =>
  fc
    .array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 4 })), { maxLength: 40 })
    .map((all) => all.join(''));

// One for each place where a scan could begin again from the start.
const longOnes = [
  '<',
  '>',
  '<>',
  '<>,',
  '"',
  ';',
  'rel=next;',
  ',',
  'a ',
  'a=',
  'a="\\',
  'a="b",',
  '=',
  '0',
  '-',
  ' ',
  '\\',
  '://',
  '?',
];

describe('a header that an upstream makes up', () => {
  it('Link: gives a query of this origin, or nothing', () => {
    const link = madeOf(
      '<',
      '>',
      '/v2/',
      '?',
      'last=b',
      '; rel="next"',
      'rel=next',
      ',',
      '"',
      'https://',
      'registry.example',
      'http://[',
    );
    fc.assert(
      fc.property(fc.oneof(link, fc.array(link, { maxLength: 3 })), (header) => {
        const query = nextPageQuery(header, base);
        // It becomes part of a URL to the upstream, and of a header to the client.
        if (query !== undefined) expect(query).toMatch(/^[\x21-\x7e]+$/);
        if (query !== undefined) expect(new URL(`?${query}`, base).origin).toBe(base.origin);
      }),
    );
  });

  it('WWW-Authenticate: gives a challenge to a URL that may be asked, or is refused', () => {
    const challenge = madeOf(
      'Bearer ',
      'Basic ',
      'realm=',
      '"',
      'https://t/',
      'http://',
      'file:///',
      ',',
      'scope=',
      'repository:a:pull',
      '\\',
    );
    fc.assert(
      fc.property(challenge, (header) => {
        try {
          const known = readChallenge(header, { url: base, repository: 'a' });
          if (known?.kind === 'bearer') expect(known.realm.protocol).toBe('https:');
        } catch (error) {
          expect(error).toBeInstanceOf(RealmRefused);
          expect((error as Error).message).toMatch(/^named [a-z ,]+$/i);
        }
      }),
    );
  });

  it('Retry-After: is between now and six hours, or says nothing', () => {
    const text = fc.oneof(
      madeOf('Fri, ', '31 Dec ', '9999', '23:59:59', ' GMT', '-', '+', 'e', '.'),
      fc.string(),
      fc.nat().map(String),
    );
    fc.assert(
      fc.property(text, (header) => {
        const wait = parseRetryAfter(header, now);
        if (wait !== undefined) expect(wait >= 0 && wait <= 6 * 3_600_000).toBe(true);
      }),
    );
  });

  it('Content-Range: is a part within its whole, or none', () => {
    const text = fc.oneof(madeOf('bytes ', '*', '/', '-', '0', '9', '99999999999999999999', '+', ' '), fc.string());
    fc.assert(
      fc.property(text, (header) => {
        const range = parseContentRange(header);
        const { from = 0, to = 0, total = Number.MAX_SAFE_INTEGER } = range ?? {};
        expect([from, to, total].every(Number.isSafeInteger)).toBe(true);
        expect(from <= to && to < total).toBe(true);
        expect(parseUnsatisfied(header) ?? 0).toBeLessThan(1e15);
      }),
    );
    const bytes = fc.nat();
    fc.assert(
      fc.property(bytes, bytes, bytes, (from, more, rest) => {
        const [to, total] = [from + more, from + more + rest + 1];
        expect(parseContentRange(`bytes ${from}-${to}/${total}`)).toEqual({ from, to, total });
        expect(parseContentRange(`bytes ${from}-${to}/*`)).toEqual({ from, to });
        expect(parseContentRange(`bytes ${from}-${to}/${to}`)).toBeUndefined();
      }),
    );
  });

  it('Content-Type: is a type without parameters, and ours only where it is one of ours', () => {
    fc.assert(
      fc.property(madeOf('application/', 'vnd.oci.image.index.v1+json', ';', ' ', '\t', 'charset=x', ','), (header) => {
        const type = essenceOf(header);
        expect(type).not.toContain(';');
        expect(type).toBe(type.trim().toLowerCase());
        if (isManifestType(type) || isIndexType(type) || isSchema1Type(type))
          expect(type).toMatch(/^application\/vnd\./);
      }),
    );
  });

  it('of 10^5 characters of anything is read to its end, and shown in 500', () => {
    for (const piece of longOnes) {
      for (const length of [10_000, 100_000]) {
        const text = piece.repeat(length / piece.length);
        nextPageQuery(text, base);
        nextPageQuery([text, text], base);
        parseChallenges(`Bearer ${text}`);
        expect(parseRetryAfter(text, now) ?? 0).toBeLessThanOrEqual(6 * 3_600_000);
        expect(parseContentRange(`bytes ${text}`)).toBeUndefined();
        expect(essenceOf(text).length).toBeLessThanOrEqual(length);
        expect(redact(text).length).toBeLessThanOrEqual(500);
      }
    }
  });
});
