import { describe, expect, it } from 'vitest';
import { createNameRules } from './name-rules.ts';

const rules = (include: object, exclude: object = {}) => createNameRules({ key: 'hub', include, exclude });

describe('an upstream without patterns', () => {
  it('has no rules', () => {
    expect(rules({})).toBeUndefined();
  });
});

describe('patterns of names', () => {
  it.each([
    ['*', 'alpine', true],
    ['*', 'library/alpine', false],
    ['library/*', 'library/alpine', true],
    ['library/*', 'library/a/b', false],
    ['library/**', 'library/a/b', true],
    ['**', 'a/b/c', true],
    ['**/web', 'team/shop/web', true],
    ['**/web', 'web', true],
    ['{team,shop}/app', 'shop/app', true],
    ['team/app', 'team/apps', false],
    ['team/app', 'my/team/app', false],
    ['team/app', 'TEAM/APP', false],
    ['a.b', 'axb', false],
    ['team/web-?', 'team/web-1', true],
    ['team/[a-c]*', 'team/bee', true],
  ])('%s and %s: %s', (pattern, name, matches) => {
    expect(rules({}, { repositories: [pattern] })?.reasonAgainst(name) !== undefined).toBe(matches);
    expect(rules({ repositories: [pattern] })?.reasonAgainst(name) === undefined).toBe(matches);
  });

  it('of tags take dots and letters of both kinds', () => {
    const only = rules({ tags: ['v[0-9]*', '3.*'] });
    for (const tag of ['v1', 'v2.0-rc1', '3.20']) expect(only?.reasonAgainst('a', tag)).toBeUndefined();
    for (const tag of ['latest', 'V1', '30']) expect(only?.reasonAgainst('a', tag)).toBeDefined();
  });
});

describe('what is refused', () => {
  const both = rules(
    { repositories: ['library/*'], tags: ['*'] },
    { repositories: ['library/evil*'], tags: ['latest'] },
  );

  it('is told with the pattern and the name', () => {
    expect(both?.reasonAgainst('library/evil-twin', '1')).toBe(
      'excluded by policy: library/evil-twin at hub matches exclude.repositories "library/evil*"',
    );
    expect(both?.reasonAgainst('other/app', '1')).toBe(
      'excluded by policy: other/app at hub matches none of include.repositories',
    );
    expect(both?.reasonAgainst('library/alpine', 'latest')).toBe(
      'excluded by policy: tag latest of library/alpine at hub matches exclude.tags "latest"',
    );
    expect(rules({ tags: ['v*'] })?.reasonAgainst('a', '1')).toBe(
      'excluded by policy: tag 1 of a at hub matches none of include.tags',
    );
  });

  it('is refused as not-admitted', () => {
    const latest = { kind: 'tag', tag: 'latest' } as const;
    expect(() => both?.check('library/alpine', latest)).toThrow(expect.objectContaining({ code: 'not-admitted' }));
    expect(() => both?.check('library/alpine')).not.toThrow();
  });

  it('is nothing, where a list of what is served is empty, but all of it', () => {
    expect(rules({ repositories: [] })?.reasonAgainst('a')).toContain('matches none of');
  });
});
