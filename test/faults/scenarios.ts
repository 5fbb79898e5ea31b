import type { ProxyCacheOptions, UpstreamOptions } from '@proxycache/core';
import {
  type FakeCdn,
  type FakeUpstream,
  type FakeUpstreamOptions,
  type FlakyStorage,
  htmlPage,
  type Step,
} from '@proxycache/test-kit';
import type { CacheUnderTest } from '../semantics/cache-under-test.ts';

/** What a scenario plays with. Nobody asks `spare` unless `spare` is given, nor `cdn` unless `cdn` is. */
export interface World {
  upstream: FakeUpstream;
  spare: FakeUpstream;
  cdn: FakeCdn;
  storage: FlakyStorage;
  cache: CacheUnderTest;
}

/** One line of the table: what goes wrong, and what everybody sees of it. */
export interface Scenario {
  what: string;
  /** How things stand before. `stored`: the image was pulled. `spare`: there is a second endpoint. `cdn`: blobs are redirected. */
  given?: {
    stored?: true;
    spare?: true;
    cdn?: true;
    fake?: FakeUpstreamOptions;
    options?: Partial<UpstreamOptions>;
    cache?: Partial<ProxyCacheOptions>;
  };
  fault(world: World): unknown;
  /** What is pulled then: by tag, or a layer of 40 KiB or of 3 MiB. */
  ask: 'tag' | 'small' | 'large';
  /** What the client sees. Times are those of the clock. */
  client: { status: number; end?: 'broken'; warning?: true; retryAfter?: string; withinMs?: number };
  /** What the upstream (or the host that is named) was asked about it: requests, and bytes as multiples of the content. */
  asked: { gets?: number; heads?: number; atMost?: number };
  /** Whether the content is in the store afterwards. */
  disk: 'stored' | 'nothing';
  /** Events that tell of it, among others: the type, then what sets it apart. */
  events: readonly string[];
  /** What another client gets later, the fault taken away. Default: all of it. */
  next?: { status: number };
}

const MiB = 1024 * 1024;
const layers = { method: 'GET', path: /\/blobs\// };
const manifests = { path: /\/manifests\// };
const script =
  (...steps: Step[]) =>
  ({ upstream }: World) =>
    upstream.script(layers, steps);
const cut = (cutAfter: number, how: 'fin' | 'rst' = 'fin'): Step => ({ cutAfter, how });
const stored = ['ingest-started', 'ingest-ended stored'];
const whole = { status: 200 };
const fiveCuts = [1, 2, 3, 4, 5].map(() => cut(MiB / 2));

export const scenarios: readonly Scenario[] = [
  // Bodies that end too early
  {
    what: 'nothing',
    fault: () => undefined,
    ask: 'large',
    client: whole,
    asked: { gets: 1, atMost: 1 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'cut once (FIN)',
    fault: script(cut(MiB)),
    ask: 'large',
    client: whole,
    asked: { gets: 2, atMost: 1.05 },
    disk: 'stored',
    events: stored,
  },
  {
    // A reset takes back what had arrived and was not read.
    what: 'cut once (RST)',
    fault: script(cut(MiB, 'rst')),
    ask: 'large',
    client: whole,
    asked: { gets: 2, atMost: 1.4 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'cut before the first byte',
    fault: script(cut(0)),
    ask: 'small',
    client: whole,
    asked: { gets: 2, atMost: 1 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'cut five times',
    fault: script(...fiveCuts),
    ask: 'large',
    client: whole,
    asked: { gets: 6, atMost: 1.05 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'stalled once',
    fault: script({ stallAfter: MiB }),
    ask: 'large',
    client: whole,
    asked: { gets: 2, atMost: 1.05 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'cut, by an upstream that ignores ranges',
    given: { fake: { personality: 'no-ranges' } },
    fault: script(cut(MiB)),
    ask: 'large',
    client: whole,
    asked: { gets: 2, atMost: 1.4 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'cut, and its signed URL expired meanwhile',
    given: { cdn: true },
    fault: ({ cdn }) => {
      cdn.script(layers, [cut(MiB)]);
      cdn.expire();
    },
    ask: 'large',
    client: whole,
    asked: { gets: 2, atMost: 1.05 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'cut, with a full disk',
    given: { cache: { minFree: Number.MAX_SAFE_INTEGER } },
    fault: script(cut(MiB)),
    ask: 'large',
    client: whole,
    asked: { gets: 2, atMost: 1.2 },
    disk: 'nothing',
    events: ['passed-through min-free'],
  },

  // Wrong bytes
  {
    what: 'a wrong byte in 40 KiB',
    fault: script({ corruptAt: 7 }),
    ask: 'small',
    client: whole,
    asked: { gets: 2, atMost: 2 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'a wrong first byte in 3 MiB',
    fault: script({ corruptAt: 0 }),
    ask: 'large',
    client: { status: 200, end: 'broken' },
    asked: { atMost: 2 },
    disk: 'stored',
    events: stored,
  },
  {
    what: 'too short a manifest',
    fault: ({ upstream }) => upstream.on(manifests, { truncateTo: 50 }),
    ask: 'tag',
    client: { status: 502 },
    asked: {},
    disk: 'nothing',
    events: ['request digest-mismatch'],
  },

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

  // The store
  {
    what: 'a store that takes no blob',
    fault: ({ storage }) => storage.on('blobs.adopt', { fail: 'no space' }),
    ask: 'large',
    client: whole,
    asked: { gets: 1, atMost: 1 },
    disk: 'nothing',
    events: ['store-failed adopt', 'ingest-ended unstored'],
  },
  {
    what: 'a store that hangs',
    fault: hangingStore,
    ask: 'small',
    client: whole,
    asked: { gets: 1, atMost: 1 },
    disk: 'stored',
    events: ['store-failed metadata-get'],
  },
  {
    what: 'a disk that is full',
    given: { cache: { minFree: Number.MAX_SAFE_INTEGER } },
    fault: () => undefined,
    ask: 'large',
    client: whole,
    asked: { gets: 1, atMost: 1 },
    disk: 'nothing',
    events: ['passed-through min-free'],
  },
  {
    what: 'a stored blob that cannot be read',
    given: { stored: true },
    fault: ({ storage }) => storage.on('blobs.read', { fail: 'bad sector' }),
    ask: 'large',
    client: whole,
    asked: { gets: 1, atMost: 1 },
    disk: 'stored',
    events: ['store-failed read'],
  },

  // Restarts
  {
    what: 'a restart with the upstream gone, a blob',
    given: { stored: true },
    fault: goneAtRestart,
    ask: 'large',
    client: whole,
    asked: { gets: 0 },
    disk: 'stored',
    events: ['request 200'],
  },
  {
    what: 'a restart with the upstream gone, a tag',
    given: { stored: true },
    fault: goneAtRestart,
    ask: 'tag',
    client: { status: 200, warning: true },
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

function hangingStore({ storage }: World): void {
  for (const operation of ['metadata.get', 'metadata.set', 'blobs.open'] as const)
    storage.on(operation, { hang: 'deaf' });
}

async function goneAtRestart({ upstream, cache }: World): Promise<void> {
  await upstream.stop();
  await cache.restart();
}
