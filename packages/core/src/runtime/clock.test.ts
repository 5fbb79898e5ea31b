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
});
