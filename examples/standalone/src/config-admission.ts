import { choice, duration, list, mapping, optional, size, text } from './config-values.ts';

/** The key `admission`: what may pass. Each of the policies has to let it. */
export const admissionSchema = mapping({
  upstreams: optional(list(text('key')), 'Keys of upstreams whose content is judged', 'all of them'),
  minimumAge: optional(duration(), 'Hold what is younger, so that others find out first what is wrong with it'),
  since: optional(
    choice('seen', 'created'),
    'Younger since when: it was first seen here, or was created, as it says itself',
    'seen',
  ),
  platforms: optional(list(text()), 'Deny images of others: `linux/amd64`, `linux/arm/v7`'),
  maxSize: optional(size(1), 'Deny images whose config and layers are larger'),
  module: optional(text('file'), 'An ES module with a policy of yours: it exports `admit`, and may export `version`'),
  within: optional(duration(), 'How long the policies may take, with all they fetch; then 503', '10s'),
  decisionFor: optional(duration(), 'How long a decision holds', '5m'),
})
  .refine(({ minimumAge, since }) => since === undefined || minimumAge !== undefined, {
    path: ['since'],
    error: 'expected minimumAge beside it',
  })
  .refine(
    ({ minimumAge, platforms, maxSize, module }) =>
      [minimumAge, platforms, maxSize, module].some((policy) => policy !== undefined),
    { error: 'expected minimumAge, platforms, maxSize or module' },
  );
