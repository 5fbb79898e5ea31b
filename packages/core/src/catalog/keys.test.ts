import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkMetadataKey } from '../store/metadata-key.ts';
import { keyOf, prefixOf, segment, textOf } from './keys.ts';

describe('keys of the metadata store', () => {
  it('have one segment for each part, whatever its characters', () => {
    expect(keyOf('tag', 'docker-hub', '-', 'library/alpine', '3.20')).toBe('tag/docker-hub/-/library%2Falpine/3.20');
    expect(prefixOf('tag', 'docker-hub')).toBe('tag/docker-hub/');
  });

  it('are taken by every store', () => {
    const parts = fc.array(fc.string({ minLength: 1, maxLength: 300, unit: 'grapheme-ascii' }), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(parts, (texts) => {
        fc.pre(texts.every((text) => text !== '.' && text !== '..'));
        expect(() => checkMetadataKey(keyOf(...texts))).not.toThrow();
      }),
    );
  });

  it('tell every two lists of parts apart', () => {
    const names = fc.array(fc.string({ minLength: 1, maxLength: 4, unit: fc.constantFrom('a', '/', '%', '.', '-') }), {
      minLength: 2,
      maxLength: 2,
    });
    fc.assert(
      fc.property(names, names, (a, b) => {
        if (keyOf(...a) === keyOf(...b)) expect(a).toEqual(b);
      }),
    );
  });

  it('of names, tags and digests are percent-encoded as any other text is', () => {
    const text = fc.string({ minLength: 1, maxLength: 60, unit: fc.constantFrom(...'abzAZ09._-/:%~!é ') });
    fc.assert(
      fc.property(text, (name) => {
        const encoded = encodeURIComponent(name).replaceAll('!', '%21');
        expect(segment(name)).toBe(encoded);
      }),
    );
  });

  it('read back as their text, but for one that is too long', () => {
    const name = fc.string({ minLength: 1, unit: fc.constantFrom(...'abcxyz019._-/:') });
    fc.assert(fc.property(name, (text) => text.length > 60 || textOf(segment(text)) === text));
    const long = 'a/'.repeat(120);
    expect(segment(long)).toMatch(/^~[0-9a-f]{64}$/);
    expect(textOf(segment(long))).toBeUndefined();
    expect(segment(long)).not.toBe(segment(`${long}b`));
  });
});
