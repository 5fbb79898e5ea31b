import { ProxyCacheError, type UpstreamOptions } from '@proxycache/core';
import type { Config } from './config-schema.ts';
import { nearestName } from './nearest-name.ts';

/**
 * Refuses rules about groups of users and upstreams that are none: one that is never about anything would let in whom it is to keep
 * out.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function checkRules(
  { access, groups: groupsOfUpstreams, persistUpstreams }: Config,
  upstreams: readonly UpstreamOptions[],
): void {
  const groups = (access?.groups ?? []).map(({ name }) => name);
  const keys = [...upstreams, ...(groupsOfUpstreams ?? [])].map(({ key }) => key);
  for (const [index, rule] of (access?.rules ?? []).entries()) {
    const path = `access.rules[${index}]`;
    for (const group of rule.groups ?? []) expectName(`${path}.groups: there is no group`, group, groups);
    // One that is added later may be meant.
    if (rule.upstream !== undefined && !persistUpstreams)
      expectName(`${path}.upstream: there is no upstream`, rule.upstream, keys);
  }
}

function expectName(message: string, name: string, names: readonly string[]): void {
  if (names.includes(name)) return;
  const meant = nearestName(name, names);
  const hint = meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`;
  throw new ProxyCacheError('invalid-options', `${message} ${JSON.stringify(name)}${hint}`);
}
