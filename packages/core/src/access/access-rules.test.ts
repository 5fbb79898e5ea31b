import { describe, expect, it } from 'vitest';
import { type AccessRule, accessRules } from './access-rules.ts';
import type { AccessQuestion, Identity } from './hooks.ts';

const identities: Record<string, Identity | undefined> = {
  nobody: undefined,
  ann: { name: 'ann' },
  'ci-7': { name: 'ci-7', attributes: { groups: ['builders'] } },
  eve: { name: 'eve', attributes: { groups: 'web' } },
};
const groups = { web: ['ann'], empty: [] };

function allowed(rules: readonly AccessRule[], who: string, what: Partial<AccessQuestion> = {}): boolean {
  const asked = { action: 'pull', upstream: 'hub', repository: 'team/app', ...what } as AccessQuestion;
  return accessRules({ rules, groups })({ ...asked, identity: identities[who] }) === true;
}

const allow = true;

describe('rules', () => {
  it.each<[rule: AccessRule, who: string]>([
    [{ allow }, 'nobody, ann, ci-7, eve'],
    [{ identities: ['**'], allow }, 'ann, ci-7, eve'],
    [{ identities: ['ci-*', 'eve'], allow }, 'ci-7, eve'],
    [{ groups: ['web'], allow }, 'ann'],
    [{ groups: ['builders', 'web'], allow }, 'ann, ci-7'],
    [{ groups: ['builders'], identities: ['eve'], allow }, 'ci-7, eve'],
    [{ groups: ['empty', 'toString', '__proto__'], allow }, ''],
    [{ identities: [], allow }, ''],
    [{ groups: [], allow }, ''],
    [{ allow: false }, ''],
  ])('%j allow: %s', (rule, who) => {
    const those = Object.keys(identities).filter((name) => allowed([rule], name));
    expect(those.join(', ')).toBe(who);
  });

  it.each<[rule: Omit<AccessRule, 'allow'>, upstream: string, repository: string, isAbout: boolean]>([
    [{ upstream: 'hub' }, 'hub', 'team/app', true],
    [{ upstream: 'hub' }, 'hub2', 'team/app', false],
    [{ repositories: ['team/*'] }, 'hub', 'team/app', true],
    [{ repositories: ['team/*'] }, 'hub', 'team/app/deep', false],
    [{ repositories: ['team/**'] }, 'hub', 'team/app/deep', true],
    [{ repositories: ['team/**'] }, 'hub', 'teams/app', false],
    [{ upstream: 'hub', repositories: ['a', 'library/*'] }, 'hub', 'library/alpine', true],
    [{ upstream: 'hub', repositories: ['a', 'library/*'] }, 'ghcr', 'library/alpine', false],
    [{ repositories: [] }, 'hub', 'team/app', false],
  ])('%j are about %s %s: %s', (rule, upstream, repository, isAbout) => {
    expect(allowed([{ ...rule, allow }], 'nobody', { upstream, repository })).toBe(isAbout);
    expect(allowed([{ ...rule, allow: false }, { allow }], 'nobody', { upstream, repository })).toBe(!isAbout);
  });

  it('are asked in their order, and the first that is about it decides', () => {
    const rules = [
      { repositories: ['team/secret'], groups: ['web'], allow },
      { repositories: ['team/secret'], allow: false },
      { repositories: ['team/**'], identities: ['**'], allow },
    ];
    const secret = { repository: 'team/secret' };
    expect([allowed(rules, 'ann', secret), allowed(rules, 'eve', secret), allowed(rules, 'eve')]).toEqual([
      true,
      false,
      true,
    ]);
    expect([allowed(rules, 'nobody'), allowed(rules, 'ann', { repository: 'other' })]).toEqual([false, false]);
  });

  it('about whoever is known are so also about names that no path would hold', () => {
    const refusesKnown = accessRules({ rules: [{ identities: ['**'], allow: false }, { allow }] });
    const asked = { action: 'pull', upstream: 'hub', repository: 'team/app' } as AccessQuestion;
    for (const name of ['.', '..', './x', 'a/../b', 'a\\b', 'https://login.example/7']) {
      expect([name, refusesKnown({ ...asked, identity: { name } })]).toMatchObject([name, { allow: false }]);
    }
  });

  it('say who may not do what', () => {
    const authorize = accessRules({ rules: [] });
    const asked = { action: 'list', upstream: 'hub', repository: 'team/app' } as AccessQuestion;
    expect(authorize({ ...asked, identity: { name: 'ann' } })).toEqual({
      allow: false,
      reason: 'ann may not list team/app of hub',
    });
    expect(authorize(asked)).toEqual({
      allow: false,
      reason: 'whoever has not logged in may not list team/app of hub',
    });
  });

  it.each([
    [{ rules: undefined }, 'rules: expected a list of rules, received undefined'],
    [{ rules: ['a'] }, 'rules[0]: expected an object, received "a"'],
    [
      { rules: [{ allow }, { repository: ['a'], allow }] },
      'rules[1].repository: there is no such option; did you mean repositories?',
    ],
    [{ rules: [{}] }, 'rules[0].allow: expected true or false, received undefined'],
    [{ rules: [{ allow: 'yes' }] }, 'rules[0].allow: expected true or false, received "yes"'],
    [{ rules: [{ repositories: 'a', allow }] }, 'rules[0].repositories: expected a list, each a pattern'],
    [{ rules: [{ identities: ['!a'], allow }] }, 'rules[0].identities[0]: expected a pattern'],
    [{ rules: [{ upstream: '', allow }] }, 'rules[0].upstream: expected an upstream\'s key, received ""'],
    [{ rules: [], groups: { web: 'ann' } }, 'groups.web: expected a list, each a name, received "ann"'],
  ])('that are wrong are refused: %j', (options, message) => {
    expect(() => accessRules(options as never)).toThrow(message);
  });
});
