import { manualClock, seededBytes } from '@proxycache/test-kit';
import { expect, it, vi } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { createContentHash } from './content-hash.ts';
import { createPlacedHash, type HashElsewhere } from './placed-hash.ts';
import { createRing } from './ring.ts';
import { shareMemory } from './shared-bytes.ts';

const MiB = 1024 * 1024;
const content = seededBytes('placed', 8 * MiB);
const digest = digestOf(content);

interface Coming {
  /** Of the pieces that come first; the rest comes as one. */
  sizes?: number[];
  /** Ms that pass before each piece. */
  apartMs?: number;
  isShared?: boolean;
  total?: number | undefined;
  /** Which bytes the ring still has when each piece comes. */
  kept?: number;
}

/** The digest of the content, and how often the hash was to go elsewhere because it is fast. */
async function hashed(coming: Coming) {
  const { sizes = [1000, 500_000, 500_000, MiB], apartMs = 0, isShared = true, kept = 16 * MiB } = coming;
  const clock = manualClock();
  const ring = createRing();
  const elsewhere = vi.fn<HashElsewhere>((of, isFast) => (isFast ? createContentHash(of) : undefined));
  const again = () => {
    throw new Error('nothing has ended');
  };
  const hash = createPlacedHash(digest, { elsewhere, ring, again, clock });
  hash.begin('total' in coming ? coming.total : content.byteLength);
  let from = 0;
  for (const size of [...sizes, content.byteLength]) {
    const piece = content.subarray(from, from + size);
    const bytes = isShared ? Buffer.from(new SharedArrayBuffer(piece.byteLength)) : Buffer.alloc(piece.byteLength);
    bytes.set(piece);
    from += piece.byteLength;
    const memory = shareMemory(() => undefined);
    ring.push({ bytes, memory });
    hash.update(bytes, memory);
    ring.trim(from, kept);
    await clock.advance(apartMs);
  }
  return { digest: await hash.finish(), moves: elsewhere.mock.calls.filter(([, isFast]) => isFast).length };
}

it.each<[string, Coming]>([
  ['comes fast', {}],
  ['comes at 300 MB/s, as several pieces', { sizes: Array(16).fill(300_000), apartMs: 1 }],
  ['is of a size that nobody told', { total: undefined }],
])('goes elsewhere where the blob %s, and is of all that came', async (_, coming) => {
  expect(await hashed(coming)).toEqual({ digest, moves: 1 });
});

it.each<[string, Coming]>([
  [
    'comes at the pace of a gigabit, also where much was found in the socket',
    { sizes: [700_000, ...Array(20).fill(250_000)], apartMs: 2 },
  ],
  ['comes in memory that nobody else can look at', { isShared: false }],
  ['is over soon', { sizes: [1000, 1_800_000, 3 * MiB], apartMs: 1 }],
  ['is small', { total: MiB }],
  ['is not in memory from its first byte on', { sizes: [1000, 900_000, 900_000, MiB], kept: 500_000 }],
])('stays here where the blob %s', async (_, coming) => {
  expect(await hashed(coming)).toEqual({ digest, moves: 0 });
});
