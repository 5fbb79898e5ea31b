import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.ts';
import { countLines } from './origin.ts';
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
    [['--fast'], /--fast/],
  ])('%j is refused', (args, message) => {
    expect(() => parse(...args)).toThrow(message);
  });
});

it("the upstream's log is counted by kind of request", () => {
  const lines = ['GET /v2/a/manifests/x 200 10', 'HEAD /v2/a/manifests/x 200 0', 'GET /v2/a/blobs/sha256:1 200 90'];
  expect(countLines(lines)).toEqual({ gets: 2, heads: 1, blobGets: 1, bytes: 100 });
});
