import { describe, expect, it, test } from 'vitest';
import { createSegmentPlan, pieceOf, type SegmentPlan } from './segment-plan.ts';

const MB = 1e6;

/** A link of `total` bytes a second, of which one connection gets `each` at most. */
function drive(
  plan: SegmentPlan,
  link: { total: number; each: number },
  { from = 0, seconds, most = 8, others = 0 }: { from?: number; seconds: number; most?: number; others?: number },
): { wanted: number; changes: number[]; tried: number; received: number } {
  let wanted = 1;
  let received = 0;
  const changes: number[] = [];
  for (let now = from; now <= from + seconds * 1000; now += 50) {
    const connections = Math.max(wanted, 1 + others);
    const next = plan.look({ now, received, connections, most });
    if (next !== wanted) changes.push(next);
    wanted = next;
    received += (Math.min(link.total, connections * link.each) * 50) / 1000;
  }
  return { wanted, changes, tried: Math.max(1, ...changes), received };
}

describe('a plan', () => {
  test('opens a second connection, then two, then four, while each step brings more', () => {
    const { changes, wanted } = drive(createSegmentPlan(), { total: 1000 * MB, each: 15 * MB }, { seconds: 10 });
    expect(changes).toEqual([2, 4, 8]);
    expect(wanted).toBe(8);
  });

  test('opens no more than it may', () => {
    expect(drive(createSegmentPlan(), { total: 1000 * MB, each: 15 * MB }, { seconds: 60, most: 5 }).changes).toEqual([
      2, 4, 5,
    ]);
    expect(drive(createSegmentPlan(), { total: 1000 * MB, each: 15 * MB }, { seconds: 60, most: 1 }).changes).toEqual(
      [],
    );
  });

  test('lets a second connection go that brings nothing, and opens no third', () => {
    const { tried, wanted } = drive(createSegmentPlan(), { total: 15 * MB, each: 15 * MB }, { seconds: 9 });
    expect([tried, wanted]).toEqual([2, 1]);
  });

  test('tries again after ever longer rests, of a minute at most', () => {
    const { changes } = drive(createSegmentPlan(), { total: 15 * MB, each: 15 * MB }, { seconds: 300 });
    const tries = changes.filter((wanted) => wanted === 2).length;
    expect(tries).toBeGreaterThanOrEqual(5);
    expect(tries).toBeLessThanOrEqual(9);
  });

  test('keeps as many as help where a link is full before its connections are', () => {
    // Three fill it, the fourth gets from the others what it brings.
    const { wanted } = drive(createSegmentPlan(), { total: 45 * MB, each: 15 * MB }, { seconds: 9 });
    expect(wanted).toBe(3);
  });

  test('finds out that a link has got faster', () => {
    const plan = createSegmentPlan();
    expect(drive(plan, { total: 15 * MB, each: 15 * MB }, { seconds: 5 }).wanted).toBe(1);
    expect(drive(plan, { total: 1000 * MB, each: 15 * MB }, { from: 5_050, seconds: 30 }).wanted).toBe(8);
  });

  test('opens none where nothing comes', () => {
    expect(drive(createSegmentPlan(), { total: 0, each: 0 }, { seconds: 60 }).changes).toEqual([]);
  });

  test('judges nothing while others come and go', () => {
    const plan = createSegmentPlan();
    let received = 0;
    for (let now = 0; now < 60_000; now += 50) {
      received += MB;
      const connections = 1 + (Math.floor(now / 500) % 2);
      expect(plan.look({ now, received, connections, most: 8 })).toBe(1);
    }
  });

  test('lets go of what it tries as soon as one of them fails', () => {
    const plan = createSegmentPlan();
    let received = 0;
    let now = 0;
    for (; plan.look({ now, received, connections: 1, most: 8 }) === 1; now += 50) received += MB;
    plan.failed(now);
    expect(plan.look({ now, received, connections: 1, most: 8 })).toBe(1);
    const until = now + 9_000;
    for (; now < until; now += 50) {
      received += MB;
      expect(plan.look({ now, received, connections: 1, most: 8 })).toBe(1);
    }
  });

  test('waits ten seconds for a connection, and does without those that did not come', () => {
    const plan = createSegmentPlan();
    let received = 0;
    let last = 1;
    let triedAt = 0;
    for (let now = 0; now < 15_000; now += 50) {
      received += MB;
      const next = plan.look({ now, received, connections: 1, most: 8 });
      if (next === 2 && last === 1) triedAt = now;
      if (next === 1 && last === 2) expect(now - triedAt).toBe(10_000);
      last = next;
    }
    expect([triedAt, last]).toEqual([750, 1]);
  });

  it('knows what a connection brings', () => {
    const plan = createSegmentPlan();
    expect(plan.pace()).toBeUndefined();
    drive(plan, { total: 1000 * MB, each: 15 * MB }, { seconds: 5 });
    expect(plan.pace()).toBeCloseTo(15_000);
  });
});

describe('a piece', () => {
  const MiB = 1024 * 1024;
  const gap = (length: number) => ({ from: 7, end: 7 + length });

  it('is the end of its gap, of two seconds', () => {
    expect(pieceOf(gap(1024 * MiB), 2, 15_000)).toEqual({ from: 7 + 1024 * MiB - 30 * MB, end: 7 + 1024 * MiB });
  });

  it('is at least 4 MiB and at most 64 MiB of a large gap', () => {
    const size = (pace: number | undefined) => {
      const piece = pieceOf(gap(4096 * MiB), 2, pace)!;
      return (piece.end - piece.from) / MiB;
    };
    expect([size(undefined), size(10), size(1e6)]).toEqual([4, 4, 64]);
  });

  it('gets smaller with its gap, so that all are done at about the same time', () => {
    const piece = pieceOf(gap(60 * MiB), 6, 15_000)!;
    expect(piece.end - piece.from).toBe(5 * MiB);
  });

  it('is none of a gap that the first connection has passed soon', () => {
    expect(pieceOf(gap(2 * MiB - 1), 2, undefined)).toBeUndefined();
    expect(pieceOf(gap(2 * MiB), 2, undefined)).toBeDefined();
    expect(pieceOf(gap(29 * MB), 2, 100_000)).toBeUndefined();
  });
});
