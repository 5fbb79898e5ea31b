import { expectBoolean, expectEach, expectKnown, expectObject, invalidOption } from '../runtime/expect-option.ts';
import { expectPatterns } from '../runtime/name-patterns.ts';
import { hostText } from '../upstream/check-endpoint.ts';
import { checkUpstreamKey } from '../upstream/upstream-key.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import type { GroupOptions, GroupPin } from './group-options.ts';

// A record, so that a new option cannot be forgotten here.
const known: Readonly<Record<keyof GroupOptions, true>> = {
  key: true,
  upstreams: true,
  hosts: true,
  library: true,
  skipFailed: true,
  deniedMayMeanAbsent: true,
  pin: true,
};

/** What groups are checked against. */
interface Beside {
  upstreams: readonly Pick<UpstreamOptions, 'key' | 'credentials'>[];
  reservedKeys: readonly string[];
  /** Whether members may be added later. Default false. */
  mayGrow?: boolean;
}

/** Checks groups, also of a caller without types. @throws ProxyCacheError `invalid-options` */
export function checkGroups(groups: readonly GroupOptions[] | undefined, beside: Beside): void {
  if (groups === undefined) return;
  if (!Array.isArray(groups)) throw invalidOption('groups', 'a list of groups', groups);
  const taken = new Map<string, string>([
    ...beside.upstreams.map(({ key }) => [key, "an upstream's key"] as const),
    ...beside.reservedKeys.map((key) => [key, 'one of reservedKeys'] as const),
  ]);
  for (const [index, group] of (groups as readonly GroupOptions[]).entries()) {
    const path = `groups[${index}]`;
    checkGroup(path, group, beside);
    const taker = taken.get(group.key);
    if (taker !== undefined) throw invalidOption(`${path}.key`, `a key that is not ${taker} already`, group.key);
    taken.set(group.key, "another group's key");
  }
}

/**
 * Checks an upstream that comes or changes while the groups stay.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function checkBesideGroups(
  path: string,
  { key, credentials }: Pick<UpstreamOptions, 'key' | 'credentials'>,
  groups: readonly GroupOptions[] = [],
): void {
  if (groups.some((group) => group.key === key)) throw invalidOption(`${path}.key`, "a key that is not a group's", key);
  const of = groups.find(({ upstreams }) => upstreams.includes(key));
  if (of === undefined || credentials !== 'caller') return;
  const expected = `"own", as it is a member of the group ${JSON.stringify(of.key)}`;
  throw invalidOption(`${path}.credentials`, expected, credentials);
}

function checkGroup(path: string, group: GroupOptions, beside: Beside): void {
  expectObject(path, group);
  expectKnown(path, group, Object.keys(known));
  if (typeof group.key !== 'string') throw invalidOption(`${path}.key`, 'a key such as "all"', group.key);
  checkUpstreamKey(group.key, `${path}.key`);
  checkMembers(`${path}.upstreams`, group.upstreams, beside);
  expectEach(`${path}.hosts`, group.hosts, hostText);
  expectBoolean(`${path}.library`, group.library);
  expectBoolean(`${path}.skipFailed`, group.skipFailed);
  expectBoolean(`${path}.deniedMayMeanAbsent`, group.deniedMayMeanAbsent);
  const { pin } = group;
  if (pin === undefined) return;
  if (!Array.isArray(pin)) throw invalidOption(`${path}.pin`, 'a list of { repositories, upstream }', pin);
  for (const [index, rule] of (pin as readonly GroupPin[]).entries()) {
    checkPin(`${path}.pin[${index}]`, rule, group.upstreams);
  }
}

// A key that was removed is one on purpose: what belongs to it is to be refused, not to be had from the next member.
function checkMembers(
  path: string,
  members: readonly string[],
  { upstreams, reservedKeys, mayGrow = false }: Beside,
): void {
  const all = new Map(upstreams.map((upstream) => [upstream.key, upstream]));
  const keys = [...all.keys(), ...reservedKeys];
  const is = `the key of an upstream (${keys.map((key) => JSON.stringify(key)).join(', ')})`;
  if (!Array.isArray(members) || members.length === 0) {
    throw invalidOption(path, 'a list of at least one key of an upstream', members);
  }
  expectEach(path, members, { is, test: (key) => (mayGrow ? key !== '' : keys.includes(key)) });
  for (const [index, key] of members.entries()) {
    if (members.indexOf(key) < index) throw invalidOption(`${path}[${index}]`, 'each member once', key);
    if (all.get(key)?.credentials !== 'caller') continue;
    const expected = 'members with credentials of their own, as what one caller may see decides for all';
    throw invalidOption(`${path}[${index}]`, expected, key);
  }
}

function checkPin(path: string, rule: GroupPin, members: readonly string[]): void {
  expectObject(path, rule);
  expectKnown(path, rule, ['repositories', 'upstream']);
  if (!Array.isArray(rule.repositories) || rule.repositories.length === 0) {
    throw invalidOption(`${path}.repositories`, 'a list of at least one pattern', rule.repositories);
  }
  expectPatterns(`${path}.repositories`, rule.repositories);
  if (!members.includes(rule.upstream)) {
    const keys = members.map((key) => JSON.stringify(key)).join(' or ');
    throw invalidOption(`${path}.upstream`, `a member of the group, ${keys}`, rule.upstream);
  }
}
