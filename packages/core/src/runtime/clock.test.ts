import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

describe('systemClock', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const day = 86_400_000;

  it('calls once after the time, and not when cancelled before', () => {
    const fn = vi.fn();
    systemClock.after(1000, fn);
    const cancel = systemClock.after(1000, fn);
    vi.advanceTimersByTime(999);
    expect(fn).not.toHaveBeenCalled();
    cancel();
    vi.advanceTimersByTime(5000);
    expect(fn).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('waits longer than one timer of Node can, and can be cancelled in between', () => {
    const fn = vi.fn();
    systemClock.after(60 * day, fn);
    const never = systemClock.after(Number.POSITIVE_INFINITY, fn);
    const cancel = systemClock.after(60 * day, fn);
    vi.advanceTimersByTime(59 * day);
    expect(fn).not.toHaveBeenCalled();
    cancel();
    vi.advanceTimersByTime(day);
    expect(fn).toHaveBeenCalledTimes(1);
    never();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('takes a time that has passed for now', () => {
    const fn = vi.fn();
    systemClock.after(-5, fn);
    vi.advanceTimersByTime(1);
    expect(fn).toHaveBeenCalledTimes(1);
  });

  it('called up to 2 ms before the time, so that what was due then was not due yet', async () => {
    vi.useRealTimers();
    const early: number[] = [];
    for (let round = 0; round < 20; round++) {
      const waits = Array.from({ length: 20 }, (_, i) => {
        const ms = 1 + round / 7 + i / 3;
        const from = systemClock.monotonic();
        return new Promise<void>((resolve) => {
          systemClock.after(ms, () => {
            if (systemClock.monotonic() < from + ms) early.push(ms);
            resolve();
          });
        });
      });
      // The timers keep no process alive; this does.
      const alive = setTimeout(() => undefined, 60_000);
      await Promise.all(waits);
      clearTimeout(alive);
    }
    expect(early).toEqual([]);
  });
});
