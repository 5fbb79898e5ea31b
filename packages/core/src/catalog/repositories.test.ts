import { flakyStore, gate, manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { memoryStorage } from '../store/memory-storage.ts';
import type { Place } from './place.ts';
import { createRepositories } from './repositories.ts';

const { signal } = new AbortController();
const place: Place = { upstream: 'up', scope: '-', repository: 'team/app', generation: 'g1' };

it('lists the repositories that were noted, each once, in order of their names', async () => {
  const clock = manualClock();
  const storage = flakyStore(memoryStorage({ clock }));
  const parts = { metadata: storage.metadata, observe: () => undefined, clock };
  const repositories = createRepositories(parts, 10);
  const long = `${'very/'.repeat(45)}long`;
  for (const repository of ['team/b', 'team/a', 'team/b', long]) await repositories.note({ ...place, repository });
  await repositories.note({ ...place, scope: 'alice', repository: 'team/a' });
  await repositories.note({ ...place, upstream: 'other', repository: 'team/c' });
  const before = storage.calls('metadata.set');
  await repositories.note({ ...place, repository: 'team/a' });
  expect(storage.calls('metadata.set')).toBe(before);
  for (const known of [repositories, createRepositories(parts, 10)]) {
    expect(await known.list('up', signal)).toEqual(
      ['team/a', 'team/b', long].map((repository) => ({ upstream: 'up', repository })),
    );
  }
  await repositories.settled();
});

it('lists what is still being noted', async () => {
  const clock = manualClock();
  const storage = flakyStore(memoryStorage({ clock }));
  const repositories = createRepositories({ metadata: storage.metadata, observe: () => undefined, clock }, 10);
  const held = gate();
  storage.on('metadata.set', { gate: held });
  void repositories.note(place);
  await held.reached;
  const listed = repositories.list('up', signal);
  held.open();
  expect(await listed).toEqual([{ upstream: 'up', repository: 'team/app' }]);
});
