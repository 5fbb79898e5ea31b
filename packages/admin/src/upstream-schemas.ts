import { count, instant, listOf, record, type Schema, text, word } from './schema.ts';

const breakerState = word('closed', 'open', 'half-open');

const quotaReading = record({ limit: count, remaining: count, windowMs: { type: 'number' } });

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
        {
          host: text,
          state: breakerState,
          failures: count,
          retryAt: instant,
          isProbed: { type: 'boolean' },
        },
        { optional: ['retryAt', 'isProbed'] },
      ),
      { description: 'Those that were asked lately' },
    ),
    rateLimit: quotaReading,
    limitedUntil: { ...instant, description: 'Until when some requests are not sent, as they were answered with 429' },
  },
  { title: 'UpstreamStatus', optional: ['retryAt', 'rateLimit', 'limitedUntil'] },
);
