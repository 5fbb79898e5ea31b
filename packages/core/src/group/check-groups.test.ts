import { describe, expect, it } from 'vitest';
import { checkGroups } from './check-groups.ts';
import { groupWarnings } from './group-warnings.ts';

const upstreams = [{ key: 'corp' }, { key: 'hub' }, { key: 'theirs', credentials: 'caller' }] as const;
const check = (...groups: unknown[]) => checkGroups(groups as never, { upstreams, reservedKeys: ['gone'] });
const all = { key: 'all', upstreams: ['corp', 'hub'] };

describe('groups', () => {
  it.each([
    [all],
    [all, { ...all, key: 'other', upstreams: ['hub'] }],
    [{ ...all, upstreams: ['gone', 'hub'] }],
    [{ ...all, hosts: ['docker.io', 'all.example:5000'], library: true, skipFailed: false, deniedMayMeanAbsent: true }],
    [{ ...all, pin: [{ repositories: ['team/**', 'app'], upstream: 'corp' }] }],
    [{ ...all, hosts: undefined, pin: undefined }],
  ])('may be %j', (...groups) => {
    expect(() => check(...groups)).not.toThrow();
  });

  it.each<[group: unknown, message: string]>([
    ['all', 'groups[0]: expected an object, received "all"'],
    [{ ...all, upstream: 'corp' }, 'groups[0].upstream: there is no such option; did you mean upstreams?'],
    [{ upstreams: ['corp'] }, 'groups[0].key: expected a key such as "all", received undefined'],
    [
      { ...all, key: 'All' },
      'groups[0].key: expected only lowercase letters, digits, ".", "_" and "-", received "All"; did you mean "all"?',
    ],
    [{ ...all, key: 'hub' }, 'groups[0].key: expected a key that is not an upstream\'s key already, received "hub"'],
    [{ ...all, key: 'gone' }, 'groups[0].key: expected a key that is not one of reservedKeys already, received "gone"'],
    [
      { ...all, upstreams: [] },
      'groups[0].upstreams: expected a list of at least one key of an upstream, received an empty list',
    ],
    [
      { ...all, upstreams: 'corp' },
      'groups[0].upstreams: expected a list of at least one key of an upstream, received "corp"',
    ],
    [
      { ...all, upstreams: ['corp', 'quay'] },
      'groups[0].upstreams[1]: expected the key of an upstream ("corp", "hub", "theirs", "gone"), received "quay"',
    ],
    [
      { ...all, upstreams: ['corp', 'hub', 'corp'] },
      'groups[0].upstreams[2]: expected each member once, received "corp"',
    ],
    [
      { ...all, upstreams: ['corp', 'theirs'] },
      'groups[0].upstreams[1]: expected members with credentials of their own, as what one caller may see decides for all, received "theirs"',
    ],
    [{ ...all, skipFailed: 'yes' }, 'groups[0].skipFailed: expected true or false, received "yes"'],
    [{ ...all, pin: {} }, 'groups[0].pin: expected a list of { repositories, upstream }, received an object'],
    [
      { ...all, pin: [{ upstream: 'corp' }] },
      'groups[0].pin[0].repositories: expected a list of at least one pattern, received undefined',
    ],
    [
      { ...all, pin: [{ repositories: ['app'], upstream: 'theirs' }] },
      'groups[0].pin[0].upstream: expected a member of the group, "corp" or "hub", received "theirs"',
    ],
    [
      { ...all, pin: [{ repositories: ['!app'], upstream: 'corp' }] },
      'groups[0].pin[0].repositories[0]: expected a pattern such as "library/*", without "!", received "!app"',
    ],
  ])('%j are refused: %s', (group, message) => {
    expect(() => check(group)).toThrow(message);
  });

  it('of one key are refused, and what is no list', () => {
    expect(() => check(all, all)).toThrow(
      `groups[1].key: expected a key that is not another group's key already, received "all"`,
    );
    expect(() => checkGroups({} as never, { upstreams, reservedKeys: [] })).toThrow(
      'groups: expected a list of groups, received an object',
    );
  });

  it('warn of a private member whose denial leads on to the next', () => {
    const corp = { key: 'corp', auth: { token: 'x' } };
    const set = [corp, { key: 'hub' }];
    const warned = (group: object, given: Parameters<typeof groupWarnings>[0]['upstreams'] = set) =>
      groupWarnings({ groups: [{ key: 'all', upstreams: ['corp', 'hub'], ...group }], upstreams: given }).length;
    const passing = { deniedMayMeanAbsent: true };
    expect(warned({})).toBe(0);
    expect(warned(passing)).toBe(1);
    expect(warned(passing, [{ ...corp, auth: 'anonymous' }])).toBe(0);
    expect(warned({ ...passing, upstreams: ['hub', 'corp'] })).toBe(0);
    expect(warned({ ...passing, pin: [{ repositories: ['team/**'], upstream: 'corp' }] })).toBe(0);
  });
});
