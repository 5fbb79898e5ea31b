import { describe, expect, test } from 'vitest';
import { manualClock } from './manual-clock.ts';

describe('manualClock', () => {
  test('stands still until it is moved', () => {
    const clock = manualClock({ now: 1_000 });
    expect([clock.now(), clock.monotonic(), clock.pending()]).toEqual([1_000, 0, 0]);
  });

  test('fires due timers in order of their instants, each at its own time', async () => {
    const clock = manualClock({ now: 0 });
    const fired: [string, number][] = [];
    clock.after(30, () => fired.push(['c', clock.now()]));
    clock.after(10, () => fired.push(['a', clock.now()]));
    clock.after(10, () => fired.push(['b', clock.monotonic()]));
    clock.after(31, () => fired.push(['late', clock.now()]));
    await clock.advance(30);
    expect(fired).toEqual([
      ['a', 10],
      ['b', 10],
      ['c', 30],
    ]);
    expect(clock.pending()).toBe(1);
    expect(clock.now()).toBe(30);
  });

  test('fires a timer that a timer or a promise set meanwhile, when it comes due within the same move', async () => {
    const clock = manualClock({ now: 0 });
    const fired: number[] = [];
    async function loop(): Promise<void> {
      for (let i = 0; i < 3; i++) {
        await new Promise<void>((resolve) => clock.after(10, resolve));
        fired.push(clock.now());
      }
    }
    const done = loop();
    await clock.advance(30);
    await done;
    expect(fired).toEqual([10, 20, 30]);
  });

  test('does not fire a timer that was cancelled', async () => {
    const clock = manualClock();
    const fired: string[] = [];
    clock.after(5, () => fired.push('kept'));
    const cancel = clock.after(5, () => fired.push('cancelled'));
    cancel();
    await clock.advance(5);
    expect(fired).toEqual(['kept']);
  });

  test('steps the wall back without firing timers or moving monotonic time', async () => {
    const clock = manualClock({ now: 5_000 });
    let fired = false;
    clock.after(100, () => {
      fired = true;
    });
    clock.set(1_000);
    expect([clock.now(), clock.monotonic(), fired]).toEqual([1_000, 0, false]);
    await clock.advance(100);
    expect([clock.now(), clock.monotonic(), fired]).toEqual([1_100, 100, true]);
  });

  test('tells when enough timers wait', async () => {
    const clock = manualClock();
    let told = false;
    const two = clock.untilPending(2).then(() => {
      told = true;
    });
    clock.after(1, () => undefined);
    await clock.advance(0);
    expect(told).toBe(false);
    clock.after(1, () => undefined);
    await two;
    expect(clock.pending()).toBe(2);
  });

  test('tells how far off the next timer is, and was', async () => {
    const clock = manualClock();
    expect([clock.next(), clock.nextDelay()]).toEqual([undefined, undefined]);
    clock.after(70, () => undefined);
    const cancel = clock.after(50, () => undefined);
    await clock.advance(20);
    expect([clock.next(), clock.nextDelay()]).toEqual([30, 50]);
    cancel();
    expect([clock.next(), clock.nextDelay()]).toEqual([50, 70]);
  });

  test('refuses to advance by a negative time', async () => {
    await expect(manualClock().advance(-1)).rejects.toThrow('received -1');
  });
});
