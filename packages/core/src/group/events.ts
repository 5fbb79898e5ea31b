export type GroupEvent =
  /** A member of a group had a repository first, and owns it from now on. */
  | { type: 'group-pinned'; group: string; repository: string; upstream: string }
  /** The host let go of that; whoever has it first owns it next. */
  | { type: 'group-unpinned'; group: string; repository: string };
