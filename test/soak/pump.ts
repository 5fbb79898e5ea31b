import { setTimeout } from 'node:timers/promises';
import type { ManualClock } from '@proxycache/test-kit';
import { Violation } from './violation.ts';

/** Moves a manual clock on, from timer to timer, only while nothing else is left to happen. */
export interface Pump {
  /** Resolves when nothing moves: no file operation or connection under way, no byte, no event. */
  idle(): Promise<void>;
  /**
   * What the work comes to; the clock runs on while it waits.
   *
   * @throws Violation when it has not ended after `limitMs` of the clock
   */
  drive<T>(what: string, work: Promise<T>, limitMs: number): Promise<T>;
  /** Lets the clock run on by so much, from timer to timer. */
  run(ms: number): Promise<void>;
}

/** The wait for these ends by itself, soon. */
const underWay = /^(FSReq|FileHandleCloseReq|TCPConnect|GetAddrInfo)/;
const quietTurns = 6;
const quietMs = 3;
const mostGraceTurns = 500;

/** @param moved a number that changes whenever something happened */
export function createPump(clock: ManualClock, moved: () => number): Pump {
  async function idle(): Promise<void> {
    let seen = moved();
    let turns = 0;
    let since = performance.now();
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const now = moved();
      const waits = process.getActiveResourcesInfo().some((name) => underWay.test(name));
      if (now !== seen || waits) {
        seen = now;
        turns = 0;
        since = performance.now();
      } else if (++turns >= quietTurns) {
        if (performance.now() - since >= quietMs) return;
        await setTimeout(1);
      }
    }
  }

  async function step(most: number): Promise<number> {
    const ms = Math.min(clock.next() ?? most, most);
    await clock.advance(ms);
    return ms;
  }

  return {
    idle,
    async drive(what, work, limitMs) {
      let done = false;
      const end = () => {
        done = true;
      };
      work.then(end, end);
      const until = clock.monotonic() + limitMs;
      for (;;) {
        await idle();
        if (done) return await work;
        if (clock.monotonic() >= until) {
          // What is on its way through the kernel of a busy machine looks like nothing at all.
          for (let turn = 0; !done && turn < mostGraceTurns; turn++) await setTimeout(10);
          if (done) return await work;
          throw new Violation(`${what}: has not ended after ${limitMs} ms of the clock`);
        }
        await step(until - clock.monotonic());
      }
    },
    async run(ms) {
      const until = clock.monotonic() + ms;
      await idle();
      while (clock.monotonic() < until) {
        await step(until - clock.monotonic());
        await idle();
      }
    },
  };
}
