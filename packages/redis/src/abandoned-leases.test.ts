import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { createAbandonedLeases } from './abandoned-leases.ts';

/** What Redis says to each attempt to release; `'away'`: nothing. The last one holds. */
function made(...answers: readonly (0 | 1 | 'away')[]) {
  const clock = manualClock();
  const asked: number[] = [];
  const redis = {
    isCluster: false,
    async send() {
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(clock.monotonic());
      if (answer === 'away') throw new Error('away');
      return answer;
    },
    close: async () => undefined,
  };
  return { clock, asked, abandoned: createAbandonedLeases({ redis, clock }) };
}

const name = 'lease';

test('a lease that could not be given back is given back when Redis can be told', async () => {
  const { clock, asked, abandoned } = made('away', 'away', 'away', 1);
  await abandoned.giveBack({ name, id: 'a', inDoubt: false, until: 60_000 });
  expect(abandoned.idsOf(name)).toEqual(['a']);
  await clock.advance(2_000);
  expect(asked).toHaveLength(4);
  expect(abandoned.idsOf(name)).toEqual([]);
  expect(clock.pending()).toBe(0);
});

test('a lease in doubt is looked for until it would have ended, also when it is not there at first', async () => {
  const { clock, asked, abandoned } = made(0, 0, 'away', 0, 1, 0);
  await abandoned.giveBack({ name, id: 'a', inDoubt: true, until: 10_000 });
  await clock.advance(9_999);
  expect(abandoned.idsOf(name)).toEqual(['a']);
  await clock.advance(500);
  expect(abandoned.idsOf(name)).toEqual([]);
  expect(asked.at(-1)).toBeGreaterThanOrEqual(10_000);
  expect(clock.pending()).toBe(0);
});

test('a lease in doubt is looked for as long as Redis says nothing, however long that is', async () => {
  const { clock, abandoned } = made('away');
  await abandoned.giveBack({ name, id: 'a', inDoubt: true, until: 1_000 });
  await clock.advance(600_000);
  expect(abandoned.idsOf(name)).toEqual(['a']);
  await abandoned.close();
  expect(clock.pending()).toBe(0);
});

test('what was taken over is given back no more', async () => {
  const { clock, asked, abandoned } = made('away');
  await abandoned.giveBack({ name, id: 'a', inDoubt: true, until: 1_000 });
  await abandoned.giveBack({ name, id: 'b', inDoubt: false, until: 1_000 });
  await abandoned.giveBack({ name: 'other', id: 'c', inDoubt: false, until: 1_000 });
  expect(abandoned.idsOf(name)).toEqual(['a', 'b']);
  abandoned.takenOver(name);
  expect(abandoned.idsOf(name)).toEqual([]);
  expect(abandoned.idsOf('other')).toEqual(['c']);
  expect(clock.pending()).toBe(1);
  await abandoned.close();
  expect(asked).toHaveLength(4);
});
