import { cut, layers, MiB, manifests, type Scenario, script, stored, whole } from './scenario.ts';

const fiveCuts = [1, 2, 3, 4, 5].map(() => cut(MiB / 2));

/** Blobs that end too early, or come wrong. */
export const bodyScenarios: readonly Scenario[] = [
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
    // How often is not said: with nothing between client and upstream, its pace may look like a stall to a clock moved by
    // hand, on a machine that is slow enough.
    asked: {},
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
];
