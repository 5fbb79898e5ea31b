import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, test } from 'vitest';
import { createSegmentLink, type LinkedTransfer, type LinkPlace, type SegmentLink } from './segment-link.ts';

const MiB = 1024 * 1024;
let clock: ManualClock;
let transfers: (LinkedTransfer & { place: LinkPlace; opened: number })[];

beforeEach(() => {
  clock = manualClock();
  transfers = [];
});

const linkOf = (rules: { connections?: number; limit?: number } = {}) =>
  createSegmentLink({ connections: 6, minSize: MiB, limit: 24, ...rules }, clock);

/** A transfer whose segments bring something as soon as they are open. */
function enter(link: SegmentLink, { most = Number.POSITIVE_INFINITY } = {}) {
  let segments = 0;
  const transfer = {
    opened: 0,
    connections: () => 1 + segments,
    segments: () => segments,
    open() {
      if (segments >= most) return false;
      segments++;
      transfer.opened++;
      return true;
    },
    close: () => void segments--,
    place: undefined as unknown as LinkPlace,
  };
  transfer.place = link.enter(transfer);
  transfers.push(transfer);
  return transfer;
}

/** Lets each connection bring a megabyte each 50 ms; segments have a piece at an end every second. */
async function run(seconds: number): Promise<void> {
  for (let tick = 0; tick < seconds * 20; tick++) {
    for (const transfer of transfers) {
      transfer.place.came(transfer.connections() * 1e6);
      if (tick % 20 === 0 && transfer.segments() > 0 && !transfer.place.keeps()) transfer.close();
    }
    await clock.advance(50);
  }
}

describe('a link', () => {
  test('gives one blob as many connections as help, up to its limit', async () => {
    const one = enter(linkOf());
    await run(10);
    expect(one.connections()).toBe(6);
  });

  test('gives all together no more than half of what blobs may have', async () => {
    const link = linkOf({ connections: 20 });
    enter(link);
    await run(10);
    expect(transfers[0]!.connections()).toBe(12);
    const other = enter(link);
    await run(20);
    expect(transfers[0]!.connections()).toBe(6);
    expect(other.connections()).toBe(6);
  });

  test.each([1, 2, 3])('gives none where blobs have %i connections', async (limit) => {
    const one = enter(linkOf({ limit }));
    await run(30);
    expect(one.opened).toBe(0);
  });

  test('lets segments go while there are as many transfers as it has connections for', async () => {
    const link = linkOf();
    enter(link);
    await run(10);
    for (let others = 0; others < 12; others++) enter(link);
    await run(7);
    expect(transfers[0]!.segments()).toBe(0);
    expect(transfers.every(({ segments }) => segments() === 0)).toBe(true);
  });

  test('closes segments at once where another transfer would have no connection', async () => {
    const link = linkOf({ limit: 12 });
    enter(link);
    await run(10);
    expect(transfers[0]!.connections()).toBe(6);
    for (let others = 1; others <= 6; others++) enter(link);
    expect(transfers[0]!.connections()).toBe(6);
    enter(link);
    expect(transfers[0]!.connections()).toBe(5);
    for (let others = 0; others < 10; others++) enter(link);
    expect(transfers[0]!.connections()).toBe(1);
  });

  test('opens none for a while where the upstream gives none', async () => {
    const one = enter(linkOf());
    one.place.refused(20_000);
    await run(19);
    expect(one.opened).toBe(0);
    expect(one.place.keeps()).toBe(false);
    await run(10);
    expect(one.connections()).toBe(6);
  });

  test('opens one for whoever has something for it to bring', async () => {
    const link = linkOf();
    const small = enter(link, { most: 0 });
    const large = enter(link);
    await run(10);
    expect(small.connections()).toBe(1);
    expect(large.connections()).toBe(6);
  });

  test('begins anew when all have left', async () => {
    const link = linkOf();
    const one = enter(link);
    await run(10);
    one.place.leave();
    transfers = [];
    const next = enter(link);
    await run(0.5);
    expect(next.opened).toBe(0);
    await run(1);
    expect(next.opened).toBe(1);
  });
});
