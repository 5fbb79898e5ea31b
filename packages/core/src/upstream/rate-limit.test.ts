import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { createRateLimits, parseRetryAfter } from './rate-limit.ts';

describe('createRateLimits', () => {
  it('waits for as long as Retry-After says, in seconds or as a date', () => {
    const clock = manualClock();
    const limits = createRateLimits(clock);
    expect(limits.limited('blob', clock.monotonic(), '7')).toBe(clock.now() + 7_000);
    expect(limits.limited('blob', clock.monotonic(), new Date(clock.now() + 90_000).toUTCString())).toBe(
      clock.now() + 90_000,
    );
  });

  it('waits 60 s doubling to 15 min where nothing is said', async () => {
    const clock = manualClock();
    const limits = createRateLimits(clock);
    const waits: number[] = [];
    for (let answers = 0; answers < 6; answers++) {
      waits.push(limits.limited('manifest', clock.monotonic(), undefined) - clock.now());
      await clock.advance(waits.at(-1)!);
    }
    expect(waits).toEqual([60, 120, 240, 480, 900, 900].map((s) => s * 1_000));
    limits.passed('manifest', clock.monotonic());
    expect(limits.limited('manifest', clock.monotonic(), undefined) - clock.now()).toBe(60_000);
  });

  it('is not lifted by what was sent before its time had come', async () => {
    const clock = manualClock();
    const limits = createRateLimits(clock);
    const sentAt = clock.monotonic();
    limits.limited('manifest', clock.monotonic(), '10');
    await clock.advance(5_000);
    limits.passed('manifest', sentAt);
    limits.passed('manifest', clock.monotonic());
    expect(limits.limitedUntil('manifest')).toBe(clock.now() + 5_000);
  });

  it('remembers each kind apart, until its time has come', async () => {
    const clock = manualClock();
    const limits = createRateLimits(clock);
    limits.limited('manifest', clock.monotonic(), '10');
    expect(limits.limitedUntil('manifest')).toBe(clock.now() + 10_000);
    expect(limits.limitedUntil('head')).toBeUndefined();
    await clock.advance(10_000);
    expect(limits.limitedUntil('manifest')).toBeUndefined();
  });

  it('is not fooled by a wall clock that steps', async () => {
    const clock = manualClock();
    const limits = createRateLimits(clock);
    limits.limited('manifest', clock.monotonic(), '10');
    clock.set(clock.now() - 86_400_000);
    expect(limits.limitedUntil('manifest')).toBe(clock.now() + 10_000);
    await clock.advance(10_000);
    expect(limits.limitedUntil('manifest')).toBeUndefined();
  });
});

describe('parseRetryAfter', () => {
  const now = Date.UTC(2026, 0, 1);
  it.each<[string | undefined, number | undefined]>([
    ['0', 0],
    ['120', 120_000],
    [' 5 ', 5_000],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Thu, 01 Jan 2025 00:00:00 GMT', 0],
    ['999999999', 6 * 3_600_000],
    ['Fri, 01 Jan 2100 00:00:00 GMT', 6 * 3_600_000],
    [undefined, undefined],
    ['', undefined],
    ['soon', undefined],
    ['-5', undefined],
    ['1.5', undefined],
    ['99999999999999', undefined],
  ])('reads %j', (value, expected) => {
    expect(parseRetryAfter(value, now)).toBe(expected);
  });
});
