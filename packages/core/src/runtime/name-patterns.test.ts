import { describe, expect, it } from 'vitest';
import { expectPatterns, matchingPattern } from './name-patterns.ts';

describe('patterns of names', () => {
  it.each([
    ['!secret', 'without "!"'],
    ['team/!(secret)', 'without parentheses'],
    ['+(a|aa)b', 'without parentheses'],
    ['team/', 'without a slash at its start or end'],
    ['/team', 'without a slash at its start or end'],
    ['evil**', 'with "**" alone between slashes'],
    ['**-internal', 'with "**" alone between slashes'],
    ['a/***', 'with "**" alone between slashes'],
    ['{secret}', 'with two or more between braces'],
    ['v{1..12}', 'with two or more between braces'],
    ['*a*a*a*b', 'with at most 3 of "*" and "**"'],
    ['**/a/**/a/**/a/**/b', 'with at most 3 of "*" and "**"'],
    ['team/[ab', 'with each bracket closed'],
    ['{a,b', 'with each bracket closed'],
  ])('that would match less than they say, or take long to, are refused: %s', (text, fault) => {
    expect(() => expectPatterns('exclude.repositories', ['fine/*', text])).toThrow(
      `exclude.repositories[1]: expected a pattern such as "library/*", ${fault}`,
    );
  });

  it.each([
    ['team-*/**', 'team-a/b/c'],
    ['{team/**,shop}', 'team/a/b'],
    ['team/{**,x}', 'team/a/b'],
    ['*/*/*/*/*-rc*', 'a/b/c/d/e-rc1'],
    ['**/*-*', 'a/b/c-d'],
    ['spiffe://cluster/ns/*/**', 'spiffe://cluster/ns/web/sa/app'],
    ['v[0-9]*.[0-9]*', 'v1.2'],
    ['{1,2,3}.*', '2.0'],
  ])('that say what they match are taken: %s', (text, name) => {
    expect(() => expectPatterns('patterns', [text])).not.toThrow();
    expect(matchingPattern([text])(name)).toBe(text);
  });
});
