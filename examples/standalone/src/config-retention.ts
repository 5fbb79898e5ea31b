import { durationOrNever, integer, list, mapping, optional, share, size, text } from './config-values.ts';

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
  maxBytes: optional(
    size(1),
    'Of all that is stored; before more comes in, what was used the longest ago goes',
    'no limit',
  ),
  lowWater: optional(share(), 'What is left of a `maxBytes` after something had to go', '0.9'),
  rules: optional(
    list(rule).meta({ type: 'list' }),
    'For some upstreams or repositories; the first that matches holds',
  ),
});
