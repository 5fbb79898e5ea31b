import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.ts';
import { partNames, parts, partsNamed } from './parts/parts.ts';

describe('the command line', () => {
  const parse = (...args: string[]) => parseOptions(args, partNames);

  it('means all parts and five rounds when it says nothing', () => {
    expect(parse()).toMatchObject({ parts: partNames, rounds: 5, extent: 'full' });
    expect(partsNamed(partNames)).toEqual(parts);
  });

  it('names parts, or groups of them', () => {
    expect(partsNamed(parse('cold', 'warm').parts).map(({ name }) => name)).toEqual(['manifests', 'blobs', 'cold']);
    expect(partsNamed(parse('segments').parts).map(({ name }) => name)).toEqual(['segments']);
  });

  it('measures nothing when it only takes up figures', () => {
    expect(parse('--from', 'a.json').parts).toEqual([]);
  });

  it('names further contestants', () => {
    expect(parse('--only', 'us,bare', '--ours', 'a', '--ours', 'b', '--with', '{"maxIngests":1}')).toMatchObject({
      only: ['us', 'bare'],
      checkouts: ['a', 'b'],
      variants: [{ maxIngests: 1 }],
    });
  });

  it.each([
    [['lukewarm'], /lukewarm is no part; there are warm, /],
    [['--rounds', '0'], /--rounds: expected 1 or more, got 0/],
    [['--origin', 'harbor'], /--origin: expected nginx or registry, got harbor/],
    [['--fast'], /--fast/],
  ])('%j is refused', (args, message) => {
    expect(() => parse(...args)).toThrow(message);
  });
});
