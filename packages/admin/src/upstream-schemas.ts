import { count, flag, instant, listOf, record, type Schema, text, word } from './schema.ts';
import { shownFields } from './upstream-options-schema.ts';

const breakerState = word('closed', 'open', 'half-open');

/** How an upstream is doing. */
export const upstreamStatusSchema: Schema = record(
  {
    key: text,
    mode: { ...word('normal', 'offline', 'local-first'), description: 'How it is used' },
    state: {
      ...breakerState,
      description: 'Of the registry’s own host: `open` is not asked, as it failed again and again',
    },
    retryAt: { ...instant, description: 'Until when it is not asked, in milliseconds since the epoch' },
    hosts: listOf(
      record(
        { host: text, state: breakerState, failures: count, retryAt: instant, isProbed: flag },
        { optional: ['retryAt', 'isProbed'] },
      ),
      { description: 'Those that were asked lately' },
    ),
    rateLimit: record({ limit: count, remaining: count, windowMs: { type: 'number' } }),
    limitedUntil: { ...instant, description: 'Until when some requests are not sent, as they were answered with 429' },
  },
  { title: 'UpstreamStatus', optional: ['retryAt', 'rateLimit', 'limitedUntil'] },
);

/** An upstream as it is told. */
export const upstreamSchema: Schema = record(
  {
    key: text,
    ...shownFields,
    origin: {
      ...word('options', 'added'),
      description: 'Whether the options of the cache name it, or it was added since',
    },
    revision: { ...count, description: 'How often it was changed since the options' },
    unusable: { ...text, description: 'Why it cannot be used, where it cannot' },
    status: upstreamStatusSchema,
  },
  {
    title: 'Upstream',
    description:
      'Its options as they hold now, those with their defaults left out and without secrets, and how it is doing',
    optional: [...Object.keys(shownFields).filter((name) => name !== 'url' && name !== 'auth'), 'unusable', 'status'],
  },
);

/** What a check found. */
export const upstreamCheckSchema: Schema = record(
  {
    upstream: text,
    ok: flag,
    endpoints: listOf(
      record(
        {
          host: text,
          durationMs: { type: 'number' },
          ok: flag,
          reason: { ...text, description: 'As the errors page of the documentation lists them' },
          message: { ...text, description: 'What is wrong, and what to do' },
          status: { ...count, description: 'The status it answered with' },
        },
        { optional: ['reason', 'message', 'status'] },
      ),
      { description: '`url`, then `endpoints`' },
    ),
  },
  { title: 'UpstreamCheck' },
);
