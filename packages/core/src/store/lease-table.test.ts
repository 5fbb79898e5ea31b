import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { createLeaseTable } from './lease-table.ts';

const silent = () => undefined;
const take = { call: 'acquire', key: 'key', for: 1_000, value: 'me' } as const;
const holder = { call: 'holder', key: 'key' } as const;

test('ends a lease whose owner was not heard for as long as it is for', async () => {
  const clock = manualClock();
  const table = createLeaseTable(clock);
  const [one, other] = [table.join(silent), table.join(silent)];
  one.answer(take);
  await clock.advance(900);
  one.answer({ call: 'renew' });
  await clock.advance(999);
  expect(other.answer(holder)).toBe('me');
  expect(other.answer(take)).toBeUndefined();
  await clock.advance(1);
  expect(other.answer(holder)).toBeUndefined();
  expect(other.answer(take)).toBeTypeOf('number');
});

test('ends the leases and the subscriptions of an owner that leaves, and of no other', () => {
  const table = createLeaseTable(manualClock());
  const heard: string[] = [];
  const [one, other] = [table.join((_, message) => heard.push(message)), table.join(silent)];
  one.answer(take);
  one.answer({ call: 'subscribe', channel: 'a' });
  other.answer({ ...take, key: 'kept' });
  other.answer({ call: 'publish', channel: 'a', message: '1' });
  other.answer({ call: 'publish', channel: 'b', message: '2' });
  one.leave();
  other.answer({ call: 'publish', channel: 'a', message: '3' });
  expect(heard).toEqual(['1']);
  expect(other.answer(holder)).toBeUndefined();
  expect(other.answer({ ...holder, key: 'kept' })).toBe('me');
});

test('gives higher tokens after a restart, and also while the wall clock steps back', async () => {
  const clock = manualClock();
  const tokens: unknown[] = [];
  for (let start = 0; start < 3; start++) {
    const member = createLeaseTable(clock).join(silent);
    for (const key of ['a', 'b']) tokens.push(member.answer({ ...take, key }));
    clock.set(clock.now() - 500);
    tokens.push(member.answer({ ...take, key: 'c' }));
    await clock.advance(1_000);
  }
  expect(tokens.every(Number.isSafeInteger)).toBe(true);
  expect(tokens).toEqual([...(tokens as number[])].sort((one, other) => one - other));
  expect(new Set(tokens).size).toBe(tokens.length);
});

test('does not let a lease that was lost release the next one', async () => {
  const clock = manualClock();
  const table = createLeaseTable(clock);
  const [one, other] = [table.join(silent), table.join(silent)];
  const token = one.answer(take) as number;
  await clock.advance(1_000);
  other.answer({ ...take, value: 'next' });
  one.answer({ call: 'release', key: 'key', token });
  expect(other.answer(holder)).toBe('next');
});
