import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { UpstreamError } from '../upstream/upstream-error.ts';
import { createResumePace } from './resume-pace.ts';

const MiB = 1024 * 1024;
const cut = new UpstreamError('unreachable', 'cut off', { upstream: 'up' });

function start(limits: { withinMs?: number; firstByteAt?: number; random?: () => number } = {}) {
  const clock = manualClock();
  const pace = createResumePace(clock, { withinMs: 120_000, firstByteAt: 60_000, random: () => 0.5, ...limits });
  return { clock, pace, waits: () => pace.next(cut, 1)?.waitMs };
}

it('asks at once after what brought something, else after ever longer times up to 5 s', () => {
  const { waits, pace } = start();
  expect(Array.from({ length: 9 }, waits)).toEqual([0, 50, 100, 200, 400, 800, 1600, 2500, 2500]);
  expect(pace.next(cut, 2)).toEqual({ attempt: 1, waitMs: 0, deadlineAt: 120_000 });
  expect(pace.next(cut, 2)).toMatchObject({ attempt: 2, waitMs: 50 });
});

it('draws each wait from all between none and the longest', () => {
  const drawn = [0, 0.999];
  const { waits } = start({ random: () => drawn.shift() ?? 0 });
  expect([waits(), waits(), waits()]).toEqual([0, 0, 200]);
});

describe('gives up', () => {
  it('where nothing new came for that long', async () => {
    const { clock, waits, pace } = start();
    expect(waits()).toBe(0);
    await clock.advance(119_900);
    expect(waits()).toBe(50);
    await clock.advance(99);
    expect(waits()).toBeUndefined();
    // What came since begins a time of its own.
    expect(pace.next(cut, 2)).toMatchObject({ waitMs: 0, deadlineAt: 239_999 });
  });

  it('where its first byte is not here in time', async () => {
    const { clock, pace } = start();
    expect(pace.next(cut, 0)).toMatchObject({ deadlineAt: 60_000 });
    await clock.advance(60_000);
    expect(pace.next(cut, 0)).toBeUndefined();
  });

  it('at once where it is to bring something new at any time', () => {
    expect(start({ withinMs: 0 }).waits()).toBeUndefined();
  });

  it('never by the clock where it has no limit', async () => {
    const { clock, waits } = start({ withinMs: Number.POSITIVE_INFINITY });
    for (let asked = 0; asked < 100; asked++) {
      expect(waits()).toBeLessThanOrEqual(5_000);
      await clock.advance(60_000);
    }
  });

  it.each([
    [1, 16],
    [MiB / 2, 32],
    [MiB, 1000],
  ])('where it is cut after each %i bytes, after %i times (1000: never)', (step, times) => {
    const { pace } = start();
    let resumed = 0;
    while (resumed < 1000 && pace.next(cut, (resumed + 1) * step)) resumed++;
    expect(resumed).toBe(times);
  });
});

describe('when the upstream says when to ask', () => {
  const told = (code: 'rate-limited' | 'server-error' | 'unavailable', inMs: number, now: number) =>
    new UpstreamError(code, 'later', { upstream: 'up', retryAt: now + inMs });

  it('asks then, not before', () => {
    const { clock, pace } = start();
    expect(pace.next(told('rate-limited', 30_000, clock.now()), 1)?.waitMs).toBe(30_000);
    expect(pace.next(told('server-error', 10, clock.now()), 1)?.waitMs).toBe(50);
  });

  it('asks before where it is merely left alone', () => {
    const { clock, pace } = start();
    expect(pace.next(told('unavailable', 30_000, clock.now()), 1)?.waitMs).toBe(0);
    expect(pace.next(told('unavailable', 30_000, clock.now()), 1)?.waitMs).toBe(50);
  });

  it('gives up where that is too late and it would not even be asked, else asks before', () => {
    const { clock, pace } = start();
    expect(pace.next(told('server-error', 120_000, clock.now()), 1)?.waitMs).toBe(0);
    expect(pace.next(told('rate-limited', 120_000, clock.now()), 1)).toBeUndefined();
  });
});
