import type { PullUpstream, Target } from '../pull/target.ts';
import { createFlights } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { expectWhole } from '../runtime/expect-option.ts';
import { matchingPattern } from '../runtime/name-patterns.ts';
import { createRecent } from '../runtime/recent.ts';
import type { Resolution } from '../upstream/resolver.ts';
import { createAskMember, type GroupQuestion } from './ask-member.ts';
import type { GroupSettings } from './group-options.ts';
import { createMembers, type GroupRepository } from './members.ts';
import { createPins, type Pin } from './pins.ts';
import { createSearch } from './search.ts';

/** What a host may know and change of its groups. */
export interface GroupControl {
  /**
   * The repositories of a group that a member owns because it had them first, after one where it is given, at most `limit`
   * (default 100). Those that `pin` names are not among them.
   *
   * @throws ProxyCacheError `name-unknown`, `invalid-options`, `storage-failed`
   */
  pins(group: string, page?: { after?: string; limit?: number }): Promise<readonly Pin[]>;
  /**
   * Lets go of a repository: whichever member has it first owns it next. Other processes follow within a minute.
   *
   * @returns whether it was owned @throws ProxyCacheError `name-unknown`, `storage-failed`
   */
  unpin(group: string, repository: string): Promise<boolean>;
}

/** Several upstreams as one. */
export interface Groups extends GroupControl {
  /** The repository of a group that a name means; `undefined`: no group's. */
  locate(route: GroupRoute): { asked: GroupRepository; clientName: string } | undefined;
  /** The same, as it is known before its member is. */
  placeOf(route: GroupRoute): { upstream: string; repository: string; group: string } | undefined;
  /** Some member of the group that a name means: enough to know how it is asked. */
  anyMember(route: GroupRoute): { target: Target } | undefined;
  /**
   * The one member that a question about a repository is for: its owner, or else whoever has it first.
   *
   * @throws ProxyCacheError where none has it or one denies it, `storage-failed` where its owner cannot be told;
   * UpstreamError where the one that may have it could not say
   */
  member(asked: GroupRepository, question: GroupQuestion, signal: AbortSignal): Promise<Target>;
  /** The owner's, where that is known without a wait; for as long as `holds` says so and upstreams do not change. */
  held(route: GroupRoute): { target: Target; group: string; holds(): boolean } | undefined;
  /** Those whose stored images are what is served if all upstreams fail now. @throws ProxyCacheError `storage-failed` */
  standing(asked: GroupRepository, signal: AbortSignal): Promise<readonly Target[]>;
  close(): void;
}

type GroupRoute = { name: string; ns: string | undefined; host: string | undefined };

const mostHolders = 10_000;
const pageSize = 100;

export function createGroups(
  settings: readonly GroupSettings[],
  parts: {
    upstreams: ReadonlyMap<string, PullUpstream>;
    resolve(route: GroupRoute): Resolution | undefined;
  } & Parameters<typeof createPins>[0] &
    Parameters<typeof createAskMember>[0],
): Groups {
  const pins = createPins(parts);
  const groups = new Map(settings.map((group) => [group.key, { group, boundTo: boundBy(group) }]));
  const members = createMembers(parts.upstreams);
  const search = createSearch({ members, ask: createAskMember(parts) });
  const flights = createFlights<string>();
  // Who had something of a repository that nobody owns: so that the blobs of an image are not looked for one by one.
  const holders = createRecent<string, string>(mostHolders);

  /** Who a repository belongs to, by its name or because it had it first. */
  async function ownerOf({ group, repository }: GroupRepository, signal: AbortSignal): Promise<string | undefined> {
    const bound = groups.get(group.key)?.boundTo(repository);
    return bound ?? (await pins.find(group.key, repository, signal))?.upstream;
  }

  async function found(asked: GroupRepository, question: GroupQuestion, signal: AbortSignal): Promise<string> {
    const { group, repository } = asked;
    const place = `${group.key} ${repository}`;
    // What refers to an image is nothing that its digest vouches for.
    const first = isByDigest(question) && question.kind !== 'referrers' ? holders.get(place) : undefined;
    const { upstream, isSure } = await search(asked, question, { first, signal });
    holders.set(place, upstream);
    // Bytes are what their digest says, whoever has them, and whoever has some of them owns nothing by that.
    if (isByDigest(question)) return upstream;
    // Somebody else may have reached the one that was passed over.
    if (!isSure) return (await pins.find(group.key, repository, signal))?.upstream ?? upstream;
    return (await pins.give(group.key, repository, upstream)).upstream;
  }

  function known(key: string): GroupSettings {
    const group = groups.get(key)?.group;
    if (group) return group;
    throw new ProxyCacheError('name-unknown', `${JSON.stringify(key)} is no group of this cache`);
  }

  function locate(route: GroupRoute): ReturnType<Groups['locate']> {
    const resolved = parts.resolve(route);
    const group = resolved && groups.get(resolved.candidates[0].key)?.group;
    if (!group) return undefined;
    return { asked: { group, repository: resolved.candidates[0].repository }, clientName: resolved.clientName };
  }

  return {
    locate,
    placeOf(route) {
      const asked = locate(route)?.asked;
      return asked && { upstream: asked.group.key, repository: asked.repository, group: asked.group.key };
    },
    anyMember(route) {
      const asked = locate(route)?.asked;
      const found = asked?.group.upstreams.map((key) => members.find(asked, key).target);
      const target = found?.find((one) => one !== undefined);
      return target && { target };
    },
    async member(asked, question, signal) {
      const owner = await ownerOf(asked, signal);
      if (owner !== undefined) return members.target(asked, owner);
      const key = `${asked.group.key} ${asked.repository} ${keyOf(question)}`;
      const finder = await flights.join(key, (signalOfAll) => found(asked, question, signalOfAll), signal);
      return members.target(asked, finder);
    },
    held(route) {
      const asked = locate(route)?.asked;
      if (!asked) return undefined;
      const { group, repository } = asked;
      const bound = groups.get(group.key)?.boundTo(repository);
      const find = bound === undefined ? pins.lookup(group.key, repository) : () => bound;
      const owner = find();
      const target = owner === undefined ? undefined : members.find(asked, owner).target;
      return target && { target, group: group.key, holds: () => find() === owner };
    },
    async standing(asked, signal) {
      const owner = await ownerOf(asked, signal);
      const { upstreams, skipFailed } = asked.group;
      const served = (owner === undefined ? upstreams : [owner]).flatMap((upstream) => {
        const { target } = members.find(asked, upstream);
        const isExcluded = target?.upstream.names?.reasonAgainst(target.place.repository) !== undefined;
        return isExcluded && owner === undefined ? [] : [target];
      });
      // The first one's failure is the end of the search.
      const reached = skipFailed ? served : served.slice(0, 1);
      return reached.filter((target) => target !== undefined);
    },
    async pins(key, { after, limit = pageSize } = {}) {
      expectWhole('pins: limit', limit, 1);
      return await pins.list(known(key).key, { after, limit });
    },
    async unpin(key, repository) {
      holders.delete(`${key} ${repository}`);
      return await pins.remove(known(key).key, repository);
    },
    close: pins.close,
  };
}

/** Finds the member that a name belongs to, whatever the others have: by either of the two names that official images have. */
function boundBy({ pin, library }: GroupSettings): (repository: string) => string | undefined {
  const rules = pin.map(({ repositories, upstream }) => ({ upstream, matches: matchingPattern(repositories) }));
  return (repository) => {
    const short = library ? /^library\/([^/]+)$/.exec(repository)?.[1] : undefined;
    const names = short === undefined ? [repository] : [repository, short];
    return rules.find(({ matches }) => names.some((name) => matches(name) !== undefined))?.upstream;
  };
}

function isByDigest(question: GroupQuestion): boolean {
  return question.kind !== 'tags' && (question.kind !== 'manifest' || question.reference.kind === 'digest');
}

function keyOf(question: GroupQuestion): string {
  switch (question.kind) {
    case 'tags':
      return 'tags';
    case 'manifest':
      return question.reference.kind === 'tag' ? `tag ${question.reference.tag}` : question.reference.digest;
    default:
      return `${question.kind} ${question.digest}`;
  }
}
