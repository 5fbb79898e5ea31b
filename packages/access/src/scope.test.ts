import { describe, expect, test } from 'vitest';
import { grantScopes, listsCatalog, pullableRepositories, scopeText } from './scope.ts';

const granted = (...asked: string[]) => {
  const access = grantScopes(asked);
  return access && scopeText(access);
};

describe('of what is asked for', () => {
  test.each([
    ['repository:hub/library/alpine:pull', 'repository:hub/library/alpine:pull'],
    ['repository:a:pull,push', 'repository:a:pull'],
    ['repository:a:push,pull,delete', 'repository:a:pull'],
    ['repository:a:*', 'repository:a:pull'],
    ['repository:localhost:5000/a:pull', 'repository:localhost:5000/a:pull'],
    ['repository:a:pull repository:b:pull', 'repository:a:pull repository:b:pull'],
    ['repository:a:pull repository:a:pull,push', 'repository:a:pull'],
    ['registry:catalog:*', 'registry:catalog:*'],
  ])('%s is granted %s', (asked, given) => expect(granted(asked)).toBe(given));

  test.each([
    '',
    ' ',
    'repository:a:push',
    'repository:a:delete',
    'repository:a:',
    'repository:a',
    'repository::pull',
    'repository:pull',
    'repository(plugin):a:pull',
    'registry:catalog:pull',
    'registry:everything:*',
    'plugin:a:pull',
    'Repository:a:pull',
    'repository:A:pull',
    'repository:a b:pull',
    'repository:a"b:pull',
    'repository:../a:pull',
    `repository:${'a'.repeat(256)}:pull`,
    ':::',
  ])('%j is granted nothing', (asked) => expect(granted(asked)).toBe(''));

  test('several parameters count like one', () => {
    expect(granted('repository:a:pull', 'repository:b:pull registry:catalog:*')).toBe(
      'repository:a:pull repository:b:pull registry:catalog:*',
    );
  });

  test('what is beyond a header is refused, not cut', () => {
    expect(granted(...Array.from({ length: 32 }, (_, i) => `repository:a${i}:pull`))).toContain('repository:a31:pull');
    expect(granted(...Array.from({ length: 33 }, (_, i) => `repository:a${i}:pull`))).toBeUndefined();
    expect(granted('x'.repeat(5000))).toBeUndefined();
  });

  test('who may have some repositories is granted none beside them, and no list of all', () => {
    const asked = ['repository:a:pull repository:b:pull registry:catalog:*'];
    expect(grantScopes(asked, ['b', 'c'])).toEqual([{ type: 'repository', name: 'b', actions: ['pull'] }]);
    expect(grantScopes(asked, [])).toEqual([]);
  });
});

describe('the access claim of a token', () => {
  test.each([
    [undefined, undefined],
    [[], []],
    [[{ type: 'repository', name: 'a', actions: ['pull', 'push'] }], ['a']],
    [[{ type: 'repository', name: 'a', actions: ['*'] }], ['a']],
    [[{ type: 'repository', name: 'a', actions: ['push'] }], []],
    [[{ type: 'registry', name: 'catalog', actions: ['*'] }], []],
    [[null, 1, 'a', { type: 'repository', name: 1, actions: ['pull'] }, { type: 'repository', name: 'a' }], []],
    ['repository:a:pull', []],
    [null, []],
  ])('%j narrows to %j', (claim, repositories) => expect(pullableRepositories(claim)).toEqual(repositories));

  test('says whether repositories may be listed', () => {
    expect(listsCatalog(grantScopes(['registry:catalog:*']))).toBe(true);
    expect(listsCatalog(grantScopes(['repository:catalog:pull']))).toBe(false);
    expect(listsCatalog('registry:catalog:*')).toBe(false);
  });
});

test('a claim that names the list of repositories without an action does not open it', () => {
  expect(listsCatalog([{ type: 'registry', name: 'catalog', actions: ['*'] }])).toBe(true);
  expect(listsCatalog([{ type: 'registry', name: 'catalog', actions: [] }])).toBe(false);
  expect(listsCatalog([{ type: 'registry', name: 'catalog' }])).toBe(false);
});
