import { type PullUpstream, type Target, targetOf } from '../pull/target.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { GroupSettings } from './group-options.ts';

/** A repository of a group, as the group names it. */
export interface GroupRepository {
  group: GroupSettings;
  repository: string;
}

/** The members of groups as they are now: upstreams come and go while groups stay. */
export interface Members {
  /** A group's repository at one of its members, or why it cannot be asked there. */
  find(
    asked: GroupRepository,
    upstream: string,
  ): { target: Target; error?: never } | { target?: never; error: UpstreamError };
  /** @throws UpstreamError `unavailable` for one that cannot be asked */
  target(asked: GroupRepository, upstream: string): Target;
}

export function createMembers(upstreams: ReadonlyMap<string, PullUpstream>): Members {
  function find({ group, repository }: GroupRepository, key: string): ReturnType<Members['find']> {
    const upstream = upstreams.get(key);
    const cannot = (why: string) => ({
      error: new UpstreamError('unavailable', `${repository} of the group ${group.key}: ${key} ${why}`, {
        upstream: key,
      }),
    });
    if (!group.upstreams.includes(key)) return cannot('owns it and is no member of the group any more; unpin it');
    if (!upstream) return cannot('is not among the upstreams of this cache (any more)');
    if (upstream.callerOf) return cannot("is asked with its callers' credentials, which no member of a group may be");
    const isOfficial = upstream.library && !repository.includes('/');
    return { target: targetOf(upstream, isOfficial ? `library/${repository}` : repository) };
  }

  return {
    find,
    target(asked, key) {
      const { target, error } = find(asked, key);
      if (!target) throw error;
      return target;
    },
  };
}
