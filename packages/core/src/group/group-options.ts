import { withDefaults } from '../runtime/with-defaults.ts';

/** Repositories of a group that belong to one of its members, whatever the others have. */
export interface GroupPin {
  /** Patterns of repository names, as clients name them below the group's key: `team/**`. With `library`, by either name. */
  repositories: readonly string[];
  /** The member's key. */
  upstream: string;
}

/** Several upstreams as one, in an order: the first that has a repository owns it from then on. */
export interface GroupOptions {
  /** Its name in paths, as an upstream's key is: by the same rule, and no other's. */
  key: string;
  /** Keys of its members, in the order in which they are asked. */
  upstreams: readonly string[];
  /** Source hosts it answers for (`docker.io`), before an upstream that declares them too. Default none. */
  hosts?: readonly string[];
  /** Whether one-component names mean `library/<name>`, at every member. Default: at those members that say so. */
  library?: boolean;
  /**
   * Whether a member that fails is passed over: then whatever the next ones have under a name is served in its place, and
   * owns nothing by that. Default false: a failing member ends the search.
   */
  skipFailed?: boolean;
  /**
   * Whether a member's "denied" is taken for "absent", as of a registry that denies what it does not have. Default: only of
   * members with that option that are asked anonymously; any other's ends the search with 403.
   */
  deniedMayMeanAbsent?: boolean;
  /** Repositories that belong to a member by their names; the first rule that is about one decides. Default none. */
  pin?: readonly GroupPin[];
}

/** {@link GroupOptions} with every default filled in. */
export type GroupSettings = Required<GroupOptions>;

/** A group's options with every default filled in. */
export function groupSettings(
  options: GroupOptions,
  defaults: Omit<GroupSettings, 'key' | 'upstreams'>,
): GroupSettings {
  return withDefaults(defaults, options);
}
