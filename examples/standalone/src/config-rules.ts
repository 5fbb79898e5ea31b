import { about, flag, list, mapping, optional, text } from './config-values.ts';

/** An item of `access.rules`. */
export const ruleSchema = mapping({
  identities: optional(
    list(text()),
    'Whom it is about: patterns of names, such as `ci-*`; `**` is whoever logged in',
    'everybody',
  ),
  groups: optional(list(text()), 'Or these groups', 'everybody'),
  upstream: optional(text('key'), 'An upstream, or a group of them', 'each'),
  repositories: optional(list(text()), 'Patterns of names at the upstream, such as `library/*` or `team/**`', 'all'),
  allow: about(flag(), 'Whether it may be pulled'),
});

/** An item of `access.groups`. */
export const groupSchema = mapping({
  name: about(text(), 'As rules name it'),
  members: about(list(text()), 'Names of users'),
});
