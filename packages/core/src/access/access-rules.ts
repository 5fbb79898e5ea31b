import { expectBoolean, expectEach, expectKnown, expectObject, invalidOption } from '../runtime/expect-option.ts';
import { expectPatterns, matchingPattern } from '../runtime/name-patterns.ts';
import type { AccessQuestion, Authorize, Identity } from './hooks.ts';

/** Whom a rule is about, and what of. All that is given must hold; what is left out holds for everybody and everything. */
export interface AccessRule {
  /** Patterns of names of identities, such as `ci-*`; `**` is whoever is known. With `groups`, one of the two is enough. */
  identities?: readonly string[];
  /** Groups, one of which somebody must be in. */
  groups?: readonly string[];
  /** An upstream's key. */
  upstream?: string;
  /** Patterns of repositories at the upstream, such as `library/*` or `team/**`. */
  repositories?: readonly string[];
  allow: boolean;
}

/** Options of {@link accessRules}. */
export interface AccessRulesOptions {
  rules: readonly AccessRule[];
  /** Members of groups by name, beside those that an identity's `attributes.groups` names. Default: none. */
  groups?: Readonly<Record<string, readonly string[]>>;
}

const known: Readonly<Record<keyof AccessRule, true>> = {
  identities: true,
  groups: true,
  upstream: true,
  repositories: true,
  allow: true,
};

/**
 * An `authorize` by a list of rules, of which the first that is about the question decides; where none is, the answer is no.
 * Patterns: `*` is anything but a slash, `**` anything, `{a,b}` either of two.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function accessRules({ rules, groups = {} }: AccessRulesOptions): Authorize {
  checkRules(rules);
  checkGroups(groups);
  const compiled = rules.map((rule) => ({ isAbout: compile(rule, groups), allow: rule.allow }));
  return (question) => {
    const rule = compiled.find(({ isAbout }) => isAbout(question));
    if (rule?.allow) return true;
    const { identity, action, upstream, repository } = question;
    const who = identity ? identity.name : 'whoever has not logged in';
    return { allow: false, reason: `${who} may not ${action} ${repository} of ${upstream}` };
  };
}

function compile(
  rule: AccessRule,
  members: Readonly<Record<string, readonly string[]>>,
): (asked: AccessQuestion) => boolean {
  const { upstream, identities, groups, repositories } = rule;
  const isNamed = matchingPattern(identities ?? []);
  const isRepository = repositories && matchingPattern(repositories);
  const inGroups = new Set(groups?.flatMap((group) => (Object.hasOwn(members, group) ? members[group] : [])));
  const isOf = (identity: Identity) =>
    isNamed(identity.name) !== undefined ||
    inGroups.has(identity.name) ||
    groupsOf(identity).some((group) => groups?.includes(group));

  return (asked) => {
    if (upstream !== undefined && upstream !== asked.upstream) return false;
    if (isRepository && isRepository(asked.repository) === undefined) return false;
    if (!identities && !groups) return true;
    return asked.identity !== undefined && isOf(asked.identity);
  };
}

/** What authenticates may say in which groups somebody is; what is no list of texts says nothing. */
function groupsOf({ attributes }: Identity): readonly string[] {
  const groups = attributes?.['groups'];
  return Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [];
}

function checkRules(rules: readonly AccessRule[]): void {
  if (!Array.isArray(rules)) throw invalidOption('rules', 'a list of rules', rules);
  rules.forEach((rule: AccessRule, index) => {
    const path = `rules[${index}]`;
    expectObject(path, rule);
    expectKnown(path, rule, Object.keys(known));
    expectPatterns(`${path}.identities`, rule.identities);
    expectPatterns(`${path}.repositories`, rule.repositories);
    expectEach(`${path}.groups`, rule.groups, name);
    if (rule.upstream !== undefined && !isName(rule.upstream))
      throw invalidOption(`${path}.upstream`, "an upstream's key", rule.upstream);
    if (rule.allow === undefined) throw invalidOption(`${path}.allow`, 'true or false', rule.allow);
    expectBoolean(`${path}.allow`, rule.allow);
  });
}

function checkGroups(groups: Readonly<Record<string, readonly string[]>>): void {
  expectObject('groups', groups);
  for (const [group, members] of Object.entries(groups)) expectEach(`groups.${group}`, members, name);
}

const isName = (text: unknown) => typeof text === 'string' && text !== '';
const name = { is: 'a name', test: isName };
