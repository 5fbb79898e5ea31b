import { htmlPage, type Step } from '@proxycache/test-kit';
import { cut, layers, MiB, manifests, type Scenario, script, stored, type World, whole } from './scenario.ts';

/** Upstreams that do not answer, or say something else; further endpoints, and hosts beside the registry. */
export const answerScenarios: readonly Scenario[] = [
  // No answer, or another one
  {
    what: '503 once',
    fault: script({ status: 503 }),
    ask: 'small',
    client: whole,
    asked: { gets: 2, atMost: 1.1 },
    disk: 'stored',
    events: stored,
  },
  {
    what: '503 twice',
    fault: script({ status: 503 }, { status: 503 }),
    ask: 'small',
    client: whole,
    asked: { gets: 3, atMost: 1.1 },
    disk: 'stored',
    events: ['upstream-retried', ...stored],
  },
  {
    what: '429 for 30 s, nothing stored',
    fault: ({ upstream }) => upstream.on(manifests, limited),
    ask: 'tag',
    client: { status: 429, retryAfter: '30' },
    asked: { gets: 1 },
    disk: 'nothing',
    events: ['request rate-limited'],
  },
  {
    what: '429 for 30 s',
    given: { stored: true },
    fault: ({ upstream }) => upstream.on(manifests, limited),
    ask: 'tag',
    client: { status: 200, warning: true },
    asked: { heads: 1, gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },
  {
    what: 'a black hole, nothing stored',
    fault: ({ upstream }) => upstream.on({}, { hang: true }),
    ask: 'tag',
    client: { status: 504, withinMs: 10_000 },
    asked: {},
    disk: 'nothing',
    events: ['request timeout'],
  },
  {
    what: 'a black hole',
    given: { stored: true },
    fault: ({ upstream }) => upstream.on({}, { hang: true }),
    ask: 'tag',
    client: { status: 200, warning: true, withinMs: 2_000 },
    asked: { heads: 1, gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },
  {
    what: 'a page to sign in, nothing stored',
    fault: ({ upstream }) => upstream.on({}, htmlPage(200, 'Sign in')),
    ask: 'tag',
    client: { status: 502 },
    asked: {},
    disk: 'nothing',
    events: ['request foreign-answer'],
  },
  {
    what: 'a page to sign in',
    given: { stored: true },
    fault: ({ upstream }) => upstream.on({}, htmlPage(200, 'Sign in')),
    ask: 'tag',
    client: { status: 200, warning: true },
    asked: {},
    disk: 'stored',
    events: ['request 200'],
  },
  {
    what: 'refused connections, nothing stored',
    fault: ({ upstream }) => upstream.stop(),
    ask: 'tag',
    client: { status: 502 },
    asked: { gets: 0 },
    disk: 'nothing',
    events: ['request unreachable'],
  },
  {
    what: 'refused connections',
    given: { stored: true },
    fault: ({ upstream }) => upstream.stop(),
    ask: 'tag',
    client: { status: 200, warning: true },
    asked: { gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },

  // A second endpoint
  {
    what: 'refused connections, with another endpoint',
    given: { spare: true },
    fault: ({ upstream }) => upstream.stop(),
    ask: 'tag',
    client: whole,
    asked: { gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },
  {
    what: 'a page to sign in, with another endpoint',
    given: { spare: true },
    fault: ({ upstream }) => upstream.on({}, htmlPage(200, 'Sign in')),
    ask: 'large',
    client: whole,
    asked: { gets: 1 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'gone in the middle of a blob, with another endpoint',
    given: { spare: true },
    fault: ({ upstream }) =>
      upstream.script(layers, [cut(MiB), ...Array.from({ length: 50 }, (): Step => ({ drop: 'rst' }))]),
    ask: 'large',
    client: whole,
    asked: { atMost: 0.4 },
    disk: 'stored',
    events: stored,
  },

  // Hosts beside the registry
  {
    what: 'a token service that is down',
    given: { stored: true, fake: { auth: { bearer: { expiresIn: 60 } } } },
    fault: tokensGone,
    ask: 'tag',
    client: { status: 200, warning: true },
    asked: { gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },
  {
    what: 'a CDN that is down: tags are validated all the same',
    given: { stored: true, cdn: true },
    fault: ({ cdn }) => cdn.stop(),
    ask: 'tag',
    client: whole,
    asked: { heads: 1, gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },
  {
    what: 'a CDN that is down for a blob that is stored',
    given: { stored: true, cdn: true },
    fault: ({ cdn }) => cdn.stop(),
    ask: 'large',
    client: whole,
    asked: { gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },
];

const limited = { status: 429, headers: { 'retry-after': '30' } };

async function tokensGone({ upstream, cache }: World): Promise<void> {
  await cache.clock.advance(120_000);
  upstream.on({ path: '/token' }, { status: 503 });
}
