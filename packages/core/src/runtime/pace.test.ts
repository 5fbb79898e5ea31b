import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { createPaceMeter, type Pace } from './pace.ts';

const MiB = 1024 * 1024;

function start() {
  const clock = manualClock();
  const meter = createPaceMeter(clock);
  async function take(bytes: number, ms: number): Promise<Pace> {
    meter.given(bytes);
    await clock.advance(ms);
    meter.asked();
    return meter.current();
  }
  return { meter, take };
}

describe('the pace of a reader', () => {
  it('is new until it has taken 4 MiB, then quick', async () => {
    const { meter, take } = start();
    meter.asked();
    expect(meter.current()).toBe('new');
    for (let i = 0; i < 15; i++) expect(await take(MiB / 4, 1)).toBe('new');
    expect(await take(MiB / 4, 1)).toBe('quick');
  });

  it.each([
    [30, 'slow'],
    [34, 'quick'],
  ])('at %i MiB/s is %s', async (rate, expected) => {
    const { meter, take } = start();
    for (let i = 0; i < 200; i++) await take(MiB / 4, 250 / rate);
    expect(meter.current()).toBe(expected);
  });

  it('is slow for one whose kernel takes several chunks at once, and then none for long', async () => {
    const { take } = start();
    const seen = new Set<Pace>();
    await take(MiB, 1_000);
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 9; i++) seen.add(await take(MiB / 4, 0));
      seen.add(await take(MiB / 4, 2_500));
    }
    expect([...seen]).toEqual(['slow']);
  });

  it('is not slow for a single pause', async () => {
    const { take } = start();
    for (let i = 0; i < 8; i++) await take(MiB, 1);
    expect(await take(MiB, 100)).toBe('quick');
  });
});
