import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from './digest.ts';
import { isPathComponent, isRepository, isTag, parseRepository, parseTagOrDigest } from './name.ts';

// OCI distribution-spec, pull. Fine for short texts; the scans under test exist because it is not for long ones.
const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const repository = new RegExp(`^${component}(?:/${component})*$`);
const tag = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

const letters = fc.constantFrom('a', 'z', '0', '9', '.', '_', '-', '/', 'A', ' ', '%', '\n', 'é', '`', '{', ':');
const common = fc.constantFrom('a', '0', '.', '_', '-', '/');
const short = fc.oneof(fc.string({ unit: common, maxLength: 12 }), fc.string({ unit: letters, maxLength: 8 }));

describe('isRepository', () => {
  it("agrees with the specification's expression", () => {
    fc.assert(
      fc.property(short, (text) => {
        expect(isRepository(text)).toBe(repository.test(text));
      }),
      { numRuns: 3000 },
    );
  });

  it('takes every text the expression can write', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z0-9]{1,3}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,3}(\/[a-z0-9]{1,3}){0,3}$/),
        (text) => {
          expect(isRepository(text)).toBe(true);
        },
      ),
    );
  });

  it('takes 255 characters and no more', () => {
    expect(isRepository('a'.repeat(255))).toBe(true);
    expect(isRepository('a'.repeat(256))).toBe(false);
    expect(isRepository(`${'a/'.repeat(127)}a`)).toBe(true);
  });
});

describe('isPathComponent', () => {
  it("agrees with the specification's expression", () => {
    const one = new RegExp(`^${component}$`);
    fc.assert(
      fc.property(short, (text) => {
        expect(isPathComponent(text)).toBe(one.test(text));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('isTag', () => {
  it("agrees with the specification's expression", () => {
    const text = fc.oneof(
      fc.string({ unit: letters, maxLength: 6 }),
      fc.integer({ min: 125, max: 131 }).map((length) => 'v'.repeat(length)),
    );
    fc.assert(
      fc.property(text, (t) => {
        expect(isTag(t)).toBe(tag.test(t));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseRepository', () => {
  it('gives what is legal and refuses the rest', () => {
    expect(parseRepository('library/alpine')).toBe('library/alpine');
    expect(() => parseRepository('../x')).toThrow(expect.objectContaining({ code: 'name-invalid' }));
  });
});

describe('parseTagOrDigest', () => {
  it('tells tags and digests apart', () => {
    const digest = digestOf(new Uint8Array());
    expect(parseTagOrDigest(digest)).toEqual({ kind: 'digest', digest });
    expect(parseTagOrDigest('sha256-abc')).toEqual({ kind: 'tag', tag: 'sha256-abc' });
  });

  it.each([
    ['', 'tag-invalid'],
    ['.x', 'tag-invalid'],
    ['sha256:abc', 'digest-invalid'],
    ['md5:d41d8cd98f00b204e9800998ecf8427e', 'digest-invalid'],
  ])('refuses %j as %s', (text, code) => {
    expect(() => parseTagOrDigest(text)).toThrow(expect.objectContaining({ code }));
  });
});
