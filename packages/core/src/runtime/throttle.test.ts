import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { createThrottle, type Throttle, type ThrottleShare } from './throttle.ts';

const rate = 1_000_000;

/** Someone who reads on whenever he may, `chunk` bytes at a time, and what he has read. */
function reader(join: (goOn: () => void) => ThrottleShare, chunk: number) {
  let read = 0;
  let isOver = false;
  const share = join(go);
  function go(): void {
    while (!isOver) {
      read += chunk;
      if (!share.took(chunk)) return;
    }
  }
  return {
    go,
    read: () => read,
    leave() {
      isOver = true;
      share.leave();
    },
  };
}

describe('a throttle', () => {
  it.each([
    [1, 16_384],
    [10, 65_536],
    [10, 700],
    [3, 300_000],
  ])(
    'lets %i readers of %i bytes at a time have the rate in each second, after what they began with',
    async (count, chunk) => {
      const clock = manualClock();
      const throttle = createThrottle({ bytesPerSecond: rate, clock });
      const readers = Array.from({ length: count }, () => reader(throttle.join, chunk));
      const total = () => readers.reduce((sum, { read }) => sum + read(), 0);
      for (const { go } of readers) go();
      await clock.advance(2_000);
      const atFirst = readers.map(({ read }) => read());
      for (let second = 0; second < 20; second++) {
        const before = total();
        await clock.advance(1_000);
        expect(Math.abs(total() - before - rate)).toBeLessThanOrEqual(2 * Math.max(chunk, throttle.step));
      }
      const each = readers.map(({ read }, index) => read() - (atFirst[index] ?? 0));
      expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(3 * Math.max(chunk, throttle.step));
      for (const { leave } of readers) leave();
      expect(clock.pending()).toBe(0);
    },
  );

  it('lets no more be caught up with than 0.4 s of it', async () => {
    const clock = manualClock();
    const throttle = createThrottle({ bytesPerSecond: rate, clock });
    await clock.advance(60_000);
    const one = reader(throttle.join, 10_000);
    one.go();
    expect(one.read()).toBeLessThanOrEqual(0.4 * rate + throttle.step + 10_000);
    expect(one.read()).toBeGreaterThanOrEqual(0.4 * rate);
    one.leave();
  });

  it('takes what came without waiting from those that wait, half of the rate at a time', async () => {
    const clock = manualClock();
    const throttle = createThrottle({ bytesPerSecond: rate, clock });
    const one = reader(throttle.join, 10_000);
    one.go();
    expect(throttle.counted().took(2 * rate)).toBe(true);
    const before = one.read();
    await clock.advance(4_000);
    expect(Math.abs(one.read() - before - 2 * rate)).toBeLessThanOrEqual(2 * throttle.step);
    await clock.advance(4_000);
    expect(Math.abs(one.read() - before - 6 * rate)).toBeLessThanOrEqual(2 * throttle.step);
    one.leave();
  });

  it.each<[string, (throttle: Throttle) => void]>([
    ['what waits for nobody', (throttle) => throttle.counted().took(rate)],
    [
      'what is over with its first bytes',
      (throttle) => {
        const share = throttle.join(() => undefined);
        share.took(rate);
        share.leave();
      },
    ],
  ])('starves nobody who waits, however much comes of %s, and forgets it when it is over', async (_what, flood) => {
    const clock = manualClock();
    const throttle = createThrottle({ bytesPerSecond: rate, clock });
    const one = reader(throttle.join, 10_000);
    one.go();
    const begun = one.read();
    for (let i = 0; i < 300; i++) {
      flood(throttle);
      await clock.advance(100);
    }
    const before = one.read();
    expect(before - begun).toBeGreaterThan(0.45 * 30 * rate);
    await clock.advance(21_000);
    const after = one.read();
    expect(after - before).toBeLessThan(12 * rate);
    await clock.advance(1_000);
    expect(one.read() - after).toBeGreaterThan(0.9 * rate);
    one.leave();
    expect(clock.pending()).toBe(0);
  });

  it('gives what one who leaves did not use to the others', async () => {
    const clock = manualClock();
    const throttle = createThrottle({ bytesPerSecond: rate, clock });
    const idle = Array.from({ length: 50 }, () => throttle.join(() => undefined));
    // Each has a step, and uses a byte of it.
    for (const share of idle) share.took(1);
    const busy = reader(throttle.join, 10_000);
    busy.go();
    const before = busy.read();
    for (const share of idle) share.leave();
    await clock.advance(1_000);
    expect(busy.read() - before).toBeGreaterThan(rate);
    busy.leave();
  });
});
