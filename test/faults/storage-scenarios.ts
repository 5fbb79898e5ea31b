import { type Scenario, type World, whole } from './scenario.ts';

/** Stores that fail, and restarts. */
export const storageScenarios: readonly Scenario[] = [
  // The store
  {
    what: 'a store that takes no blob for a while',
    fault: ({ storage }) => storage.on('blobs.adopt', { fail: 'no space' }),
    ask: 'large',
    client: whole,
    asked: { gets: 1, atMost: 1 },
    disk: 'stored',
    events: ['store-failed adopt', 'ingest-ended queued', 'upload-waiting', 'upload-done'],
  },
  {
    what: 'a store that hangs',
    fault: hangingStore,
    ask: 'small',
    client: whole,
    asked: { gets: 1, atMost: 1 },
    disk: 'stored',
    events: ['store-failed open'],
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

function hangingStore({ storage }: World): void {
  for (const operation of ['metadata.get', 'metadata.set', 'blobs.open'] as const)
    storage.on(operation, { hang: 'deaf' });
}

async function goneAtRestart({ upstream, cache }: World): Promise<void> {
  await upstream.stop();
  await cache.restart();
}
