import type { Groups } from './group/groups.ts';
import { parseRepository } from './oci/name.ts';
import { parseReference } from './oci/reference.ts';
import type { Target } from './pull/target.ts';
import type { Purge } from './retention/purge-report.ts';
import type { Purged } from './retention/purges.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import { expectKnown, expectObject, expectText, invalidOption } from './runtime/expect-option.ts';
import { checkUpstreamKey } from './upstream/upstream-key.ts';

interface Located {
  locate(route: { name: string; ns: undefined; host: undefined }): { target: Target } | undefined;
  groups: Pick<Groups, 'locate' | 'standing'>;
}

/**
 * What an operator wants gone, as records name it. Of a group's repository that is what its members have.
 *
 * @throws ProxyCacheError `invalid-options`, `name-unknown`, for a reference that is none; as {@link Groups.standing} does
 */
export async function whatToPurge(what: Purge, { locate, groups }: Located): Promise<Purged[]> {
  const routeOf = (name: string) => ({ name, ns: undefined, host: undefined });
  expectObject('purge', what);
  if ('reference' in what) {
    expectKnown('purge', what, ['reference']);
    expectText('purge: reference', what.reference);
    const { name, reference } = parseReference(what.reference);
    const target = locate(routeOf(name))?.target;
    if (target) return [{ ...target.place, reference }];
    const asked = groups.locate(routeOf(name))?.asked;
    if (!asked) throw new ProxyCacheError('name-unknown', `${name} names no upstream; expected <key>/<name>`);
    const members = await groups.standing(asked, new AbortController().signal);
    return members.map(({ place }) => ({ ...place, reference }));
  }
  expectKnown('purge', what, ['upstream', 'repository']);
  const { upstream, repository } = what;
  expectText('purge: upstream', upstream);
  checkUpstreamKey(upstream, 'purge: upstream');
  const asked = groups.locate(routeOf(`${upstream}/any`))?.asked;
  if (asked?.group.key === upstream) {
    const members = asked.group.upstreams.join(', ');
    throw new ProxyCacheError(
      'invalid-options',
      `purge: upstream: ${upstream} is a group; purge its members: ${members}`,
    );
  }
  // A name that somebody's variable should have held is not the wish to purge all of the upstream.
  if ('repository' in what && repository === undefined) {
    throw invalidOption('purge: repository', 'a text, or to be left out for all of the upstream', repository);
  }
  if (repository === undefined) return [{ upstream, repository, reference: undefined }];
  expectText('purge: repository', repository);
  parseRepository(repository);
  // Of an upstream that was removed all may go still.
  const place = locate(routeOf(`${upstream}/${repository}`))?.target.place;
  const own = place?.upstream === upstream ? place.repository : repository;
  return [{ upstream, repository: own, reference: undefined }];
}
