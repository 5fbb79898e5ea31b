import { durationOrNever, integer, list, mapping, optional, text } from './config-values.ts';

const names = (what: string) => optional(list(text('pattern')), what);
const unusedFor = (what: string, otherwise: string) => optional(durationOrNever('never'), what, otherwise);

const rule = mapping({
  upstream: optional(text('key'), 'Only its repositories', 'of any upstream'),
  repositories: names('Only these, as the upstream names them'),
  unusedFor: unusedFor('As above', 'as above'),
  keep: names('Tags that stay with their images, however long nobody uses them'),
  keepLast: optional(integer(0, 1_000_000), 'How many tags stay of each repository besides, the last used ones', '0'),
});

/** What stays, and for how long. */
export const retentionSchema = mapping({
  unusedFor: unusedFor('What was not used for so long goes', '7d'),
  every: optional(durationOrNever(false), 'How often that is looked after', '1h'),
  rules: optional(
    list(rule).meta({ type: 'list' }),
    'For some upstreams or repositories; the first that matches holds',
  ),
});
