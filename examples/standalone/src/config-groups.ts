import { about, flag, host, list, mapping, optional, text } from './config-values.ts';

const pin = mapping({
  repositories: about(list(text('pattern')), "Patterns of names below the group's key, such as `team/**`"),
  upstream: about(text('key'), 'The member that they belong to, whatever the others have'),
});

/** One of `groups[]`. Its keys are those of core's `GroupOptions`. */
export const groupOfUpstreamsSchema = mapping({
  key: about(text(), 'Its name in paths, as an upstream has one'),
  upstreams: about(
    list(text('key')),
    'Its members, in the order in which they are asked; the first that has a repository owns it',
  ),
  hosts: optional(list(host()), 'Source hosts it answers for, before an upstream that has them too'),
  library: optional(
    flag(),
    'One-component names mean `library/NAME`, at every member; else at those that say so',
    'false',
  ),
  skipFailed: optional(
    flag(),
    'Pass over members that fail: then the next ones may serve what is not the same',
    'false',
  ),
  deniedMayMeanAbsent: optional(
    flag(),
    'Pass over members that deny; else only over those that have this set and no credential',
    'false',
  ),
  pin: optional(list(pin).meta({ type: 'list' }), ''),
});
