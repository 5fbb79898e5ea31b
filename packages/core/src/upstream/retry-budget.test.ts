import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { createRetryBudget } from './retry-budget.ts';

function takeAll(budget: { take(): boolean }): number {
  let taken = 0;
  while (budget.take()) taken++;
  return taken;
}

describe('a budget of retries', () => {
  it('begins with a small reserve, which fills up by itself, one a second', async () => {
    const clock = manualClock();
    const budget = createRetryBudget(0, clock);
    expect(takeAll(budget)).toBe(10);
    await clock.advance(999);
    expect(takeAll(budget)).toBe(0);
    await clock.advance(2_001);
    expect(takeAll(budget)).toBe(3);
    await clock.advance(3_600_000);
    expect(takeAll(budget)).toBe(10);
  });

  it('earns its share with each request', () => {
    const budget = createRetryBudget(0.5, manualClock());
    takeAll(budget);
    budget.earn();
    expect(budget.take()).toBe(false);
    budget.earn();
    expect(budget.take()).toBe(true);
    expect(budget.take()).toBe(false);
  });

  it('saves up no more than a hundred', () => {
    const budget = createRetryBudget(1, manualClock());
    for (let request = 0; request < 10_000; request++) budget.earn();
    expect(takeAll(budget)).toBe(100);
  });

  it('keeps what it earned while the reserve would fill to less', async () => {
    const clock = manualClock();
    const budget = createRetryBudget(1, clock);
    for (let request = 0; request < 40; request++) budget.earn();
    await clock.advance(60_000);
    expect(takeAll(budget)).toBe(50);
  });
});
