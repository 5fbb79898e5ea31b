import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import type { GroupOptions } from './group-options.ts';

/**
 * Says where a denial leads on from a private member: one whose rights are taken away denies all of its images, and then
 * those of the next members are served under their names.
 */
export function groupWarnings(set: {
  groups?: readonly GroupOptions[] | undefined;
  upstreams: readonly Pick<UpstreamOptions, 'key' | 'auth'>[];
}): readonly string[] {
  const { groups = [], upstreams } = set;
  return groups.flatMap(({ key, upstreams: members, deniedMayMeanAbsent = false, pin = [] }) =>
    upstreams
      .filter((upstream) => {
        const isPrivate = upstream.auth !== undefined && upstream.auth !== 'anonymous';
        const isBound = pin.some((rule) => rule.upstream === upstream.key);
        const hasNext = members.includes(upstream.key) && members.at(-1) !== upstream.key;
        return isPrivate && hasNext && !isBound && deniedMayMeanAbsent;
      })
      .map(
        (upstream) =>
          `group ${JSON.stringify(key)}: a denial by ${JSON.stringify(upstream.key)} counts as "absent" ` +
          '(deniedMayMeanAbsent), so that without its rights the next members would serve its names; bind what is private ' +
          'there by pin, or set deniedMayMeanAbsent: false',
      ),
  );
}
