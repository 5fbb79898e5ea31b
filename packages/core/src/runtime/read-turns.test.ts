import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it } from 'vitest';
import { createDeferred, type Deferred } from './deferred.ts';
import { createReadTurns, type ReadTurns } from './read-turns.ts';

let clock: ManualClock;
let turns: ReadTurns;
let reads: Deferred<number>[];
let ended: number[];

beforeEach(() => {
  clock = manualClock();
  turns = createReadTurns(clock);
  reads = [];
  ended = [];
});

/** Asks for `count` reads, which are under way in `reads` once they have begun. */
function ask(count: number): void {
  for (let i = 0; i < count; i++) {
    const read = () => {
      const reading = createDeferred<number>();
      reads.push(reading);
      return reading.promise;
    };
    turns.run(read).then(
      (value) => ended.push(value),
      () => ended.push(-1),
    );
  }
}

const settled = () => clock.advance(0);

describe('turns of reads', () => {
  it('lets four begin, and one more with each that ends, in the order they came', async () => {
    ask(7);
    expect(reads).toHaveLength(4);
    reads[2]!.resolve(2);
    await settled();
    expect([reads.length, ended]).toEqual([5, [2]]);
    reads[4]!.resolve(4);
    reads[0]!.resolve(0);
    await settled();
    expect([reads.length, ended]).toEqual([7, [2, 4, 0]]);
    ask(1);
    expect(reads).toHaveLength(7);
  });

  it('counts a read that fails, in whatever way, as one that ended', async () => {
    ask(5);
    reads[0]!.reject(new Error('EIO'));
    await settled();
    expect([reads.length, ended]).toEqual([5, [-1]]);
    const sync = turns.run(() => {
      throw new Error('at once');
    });
    reads[1]!.resolve(1);
    await expect(sync).rejects.toThrow('at once');
    reads[2]!.resolve(2);
    ask(2);
    await settled();
    expect(reads).toHaveLength(7);
  });

  it('lets all go on that wait for reads of which none ends', async () => {
    ask(20);
    await clock.advance(24);
    expect(reads).toHaveLength(4);
    await clock.advance(1);
    expect(reads).toHaveLength(20);
    // Those who come now wait for nobody.
    ask(3);
    expect(reads).toHaveLength(23);
  });

  it('lets all go on once a read was slow, and few again once one was quick', async () => {
    ask(6);
    await clock.advance(15);
    reads[0]!.resolve(0);
    await settled();
    expect(reads).toHaveLength(5);
    await clock.advance(15);
    reads[1]!.resolve(1);
    await settled();
    ask(4);
    expect(reads).toHaveLength(10);
    reads[9]!.resolve(9);
    await settled();
    ask(1);
    expect(reads).toHaveLength(10);
    for (const read of reads) read.resolve(0);
    await settled();
    expect(reads).toHaveLength(11);
  });

  it('leaves no timer behind once nobody waits', async () => {
    ask(5);
    for (const read of reads) read.resolve(0);
    await settled();
    reads[4]!.resolve(0);
    await clock.advance(25);
    expect([clock.pending(), ended.length]).toEqual([0, 5]);
  });
});

it('made each read wait again for four that hung', async () => {
  ask(5);
  await clock.advance(25);
  expect(reads).toHaveLength(5);
  reads[4]!.resolve(4);
  await settled();
  ask(1);
  expect(reads).toHaveLength(6);
  for (const hung of reads) hung.resolve(0);
  await settled();
  ask(5);
  expect(reads).toHaveLength(10);
});
