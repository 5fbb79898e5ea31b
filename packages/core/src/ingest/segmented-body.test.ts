import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ManualClock, manualClock, openFiles, seededBytes } from '@proxycache/test-kit';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { createSlabs } from '../runtime/slabs.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { IngestEvent } from './events.ts';
import type { LinkedTransfer, SegmentLink } from './segment-link.ts';
import { segmentedBody } from './segmented-body.ts';
import { gapsOf, type Span } from './spans.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';
import { createSpooling } from './spooling.ts';
import { steadyBody } from './steady-body.ts';

const slabs = createSlabs(16 * 1024 * 1024);

let directory: string;
let clock: ManualClock;
let made = 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'segmented-'));
  clock = manualClock();
});
afterEach(() => {
  expect(openFiles(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

/** What an answer to a part is like. Positions count from its first byte. */
type Fault =
  | { kind: 'ok' }
  | { kind: 'cut'; after: number }
  | { kind: 'stall'; after: number }
  | { kind: 'whole' }
  | { kind: 'wrong total' }
  | { kind: 'other content' }
  | { kind: 'flipped'; at: number }
  | { kind: 'absent' }
  | { kind: 'limited' }
  | { kind: 'short'; by: number };

const unreachable = (why: string) => new UpstreamError('unreachable', why, { upstream: 'up' });

/** An upstream of one blob, whose answers go wrong in turn; the first one is to the request for the whole. */
function upstreamOf(blob: Buffer, faults: readonly Fault[], chunkBytes: number) {
  const asked: ByteRange[] = [];
  const under = { way: 0, most: 0 };
  let sent = 0;

  async function* body(of: Buffer, fault: Fault, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    under.way++;
    under.most = Math.max(under.most, under.way);
    const after = fault.kind === 'cut' || fault.kind === 'stall' ? fault.after : of.byteLength;
    try {
      for (let at = 0; at < Math.min(after, of.byteLength); at += chunkBytes) {
        await new Promise(setImmediate);
        signal.throwIfAborted();
        const chunk = Buffer.from(of.subarray(at, Math.min(at + chunkBytes, after)));
        sent += chunk.byteLength;
        yield chunk;
      }
      if (fault.kind === 'cut') throw unreachable('it was cut');
      // Whoever reads bodies gives up on silence; here after a turn.
      if (fault.kind === 'stall') await new Promise(setImmediate);
      if (fault.kind === 'stall') throw new UpstreamError('timeout', 'it sent nothing more', { upstream: 'up' });
    } finally {
      under.way--;
    }
  }

  async function answer(part: ByteRange | undefined, signal: AbortSignal): Promise<Reply<FetchedBlob>> {
    const fault = faults[part ? asked.length + 1 : 0] ?? { kind: 'ok' };
    if (part) asked.push(part);
    await new Promise(setImmediate);
    signal.throwIfAborted();
    if (fault.kind === 'absent') return { kind: 'absent', code: 'BLOB_UNKNOWN', message: 'gone' };
    if (fault.kind === 'limited') throw new UpstreamError('rate-limited', 'too many requests', { upstream: 'up' });
    const { from, to } = (fault.kind === 'whole' ? undefined : part) ?? { from: 0, to: blob.byteLength - 1 };
    const bytes = Buffer.from(
      blob.subarray(from, to + 1 - (fault.kind === 'short' ? Math.min(fault.by, to - from) : 0)),
    );
    if (fault.kind === 'flipped') bytes[fault.at % bytes.byteLength]! ^= 1;
    const total = blob.byteLength + (fault.kind === 'wrong total' ? 1 : 0);
    const validator = fault.kind === 'other content' ? '"other"' : '"this"';
    return { kind: 'found', value: { start: from, total, validator, body: body(bytes, fault, signal) } };
  }

  return { answer, asked, under, sent: () => sent };
}

/** A link that has its own mind: each chunk that comes may open or close a segment, of any size. */
function wilfulLink(decide: () => number): SegmentLink & { left: number } {
  const link = {
    minSize: 1,
    left: 0,
    enter(transfer: LinkedTransfer) {
      let refused = false;
      return {
        came() {
          const choice = decide();
          if (choice < 0.3 && transfer.segments() < 5 && !refused) transfer.open();
          else if (choice > 0.97) transfer.close();
        },
        keeps: () => decide() < 0.8 && !refused,
        piece(gap: Span) {
          const size = Math.ceil((gap.end - gap.from) * (0.05 + decide() * 0.9));
          return size < gap.end - gap.from ? { from: gap.end - size, end: gap.end } : undefined;
        },
        failed() {},
        refused() {
          refused = true;
        },
        leave() {
          link.left++;
        },
      };
    },
  };
  return link;
}

interface Setup {
  blob: Buffer;
  faults?: readonly Fault[];
  chunkBytes?: number;
  link: SegmentLink;
  isCalm?: () => boolean;
  first?: Partial<FetchedBlob>;
}

async function start({ blob, faults = [], chunkBytes = 1000, link, isCalm = () => true, first = {} }: Setup) {
  const upstream = upstreamOf(blob, faults, chunkBytes);
  const file = await createSpoolFile(join(directory, `${made++}`));
  const stop = new AbortController();
  const events: IngestEvent[] = [];
  const of = { upstream: 'up', repository: 'team/app', digest: digestOf(blob), withinMs: 60_000, signal: stop.signal };
  const parts = { clock, slabs, observe: (event: IngestEvent) => void events.push(event), random: () => 0 };
  const reply = await upstream.answer(undefined, stop.signal);
  if (reply.kind !== 'found') throw new Error('the first answer is found');
  const fetch = (from: number, signal: AbortSignal) => upstream.answer({ from, to: blob.byteLength - 1 }, signal);
  const steady = steadyBody(reply.value, { ...of, from: 0, firstByteAt: 60_000, fetch }, parts);
  const fetchPart = (part: ByteRange, signal: AbortSignal) => upstream.answer(part, signal);
  const whole = { ...reply.value, ...first, body: steady };
  const body = segmentedBody(whole, { ...of, file, link, isCalm, fetch: fetchPart }, parts);
  return { upstream, file, body, stop, events };
}

/** Takes a body in as an ingest does, the clock moved on as long as it waits. */
async function fill(body: Bytes, file: SpoolFile, blob: Buffer) {
  const spooling = createSpooling(file, digestOf(blob), { slabs });
  spooling.expect(blob.byteLength);
  const { view } = spooling;
  let position = 0;
  let over = false;
  async function* watched() {
    for await (const chunk of body) {
      // Nothing is given that is not there, or is another's: it would be passed on at once.
      const gaps = gapsOf(file.placed.list(), { from: position, end: position + chunk.byteLength });
      expect(gaps.length).toBeLessThanOrEqual(1);
      position += chunk.byteLength;
      yield chunk;
      expect(view.state().contiguous).toBeLessThanOrEqual(position);
    }
  }
  const filling = spooling.fill(watched()).finally(() => {
    over = true;
  });
  filling.catch(() => undefined);
  while (!over) await clock.advance(1_000);
  try {
    const received = await filling;
    const stored = Buffer.alloc(received.size);
    for (let at = 0; at < stored.byteLength; ) at += await file.read(stored.subarray(at), at);
    return { received, stored };
  } finally {
    await spooling.release();
  }
}

const fault = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Fault>({ kind: 'ok' }) },
  fc.record({ kind: fc.constant('cut' as const), after: fc.nat(40_000) }),
  fc.record({ kind: fc.constant('stall' as const), after: fc.nat(40_000) }),
  fc.constantFrom<Fault>(
    { kind: 'whole' },
    { kind: 'wrong total' },
    { kind: 'other content' },
    { kind: 'absent' },
    { kind: 'limited' },
  ),
  fc.record({ kind: fc.constant('flipped' as const), at: fc.nat(40_000) }),
  fc.record({ kind: fc.constant('short' as const), by: fc.nat(20_000) }),
);

it('gives the exact bytes, or fails, whatever befalls whichever segments', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        size: fc.integer({ min: 1, max: 400_000 }),
        chunkBytes: fc.integer({ min: 500, max: 70_000 }),
        faults: fc.array(fault, { maxLength: 30 }),
        choices: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 50 }),
        seed: fc.nat(),
      }),
      async ({ size, chunkBytes, faults, choices, seed }) => {
        const blob = Buffer.from(seededBytes(String(seed), size));
        let turn = 0;
        const link = wilfulLink(() => choices[turn++ % choices.length]!);
        // The first answer is found; what becomes of its body is as of all others.
        const [opening = { kind: 'ok' } as Fault, ...others] = faults;
        const begins = opening.kind === 'cut' || opening.kind === 'stall' ? opening : ({ kind: 'ok' } as Fault);
        const { upstream, file, body } = await start({ blob, faults: [begins, ...others], chunkBytes, link });
        const outcome = await fill(body, file, blob).catch((error: unknown) => error);
        expect(link.left).toBe(1);
        expect(upstream.under.way).toBe(0);
        expect(upstream.under.most).toBeLessThanOrEqual(7);
        if (!('received' in (outcome as object))) {
          expect(outcome).toBeInstanceOf(UpstreamError);
          return;
        }
        const { received, stored } = outcome as Awaited<ReturnType<typeof fill>>;
        expect(received.size).toBe(size);
        // What is in the file is what was hashed: what a digest is right for is what is stored.
        expect(`sha256:${createHash('sha256').update(stored).digest('hex')}`).toBe(received.digest);
        const isFlipped = others.some(({ kind }) => kind === 'flipped');
        if (!isFlipped) expect(stored.equals(blob)).toBe(true);
      },
    ),
    { numRuns: 100 },
  );
}, 120_000);

/** A link that opens as many segments as it is told, of so many bytes each. */
function steadyLink(segments: number, pieceBytes: number): SegmentLink & { refusedUntil: number; failures: number } {
  const link = {
    minSize: 1,
    refusedUntil: 0,
    failures: 0,
    enter(transfer: LinkedTransfer) {
      return {
        came() {
          while (transfer.segments() < segments && link.refusedUntil === 0 && transfer.open());
        },
        keeps: () => link.refusedUntil === 0,
        piece: (gap: Span) =>
          gap.end - gap.from > 2 * pieceBytes ? { from: gap.end - pieceBytes, end: gap.end } : undefined,
        failed: () => void link.failures++,
        refused(until: number) {
          link.refusedUntil = until;
        },
        leave() {},
      };
    },
  };
  return link;
}

describe('a segmented body', () => {
  const blob = Buffer.from(seededBytes('segmented', 1_000_000));

  test('is brought from its end by others, while its first connection goes on from its beginning', async () => {
    const { upstream, file, body, events } = await start({ blob, link: steadyLink(3, 50_000) });
    const { stored } = await fill(body, file, blob);
    expect(stored.equals(blob)).toBe(true);
    expect(upstream.asked[0]).toEqual({ from: 950_000, to: 999_999 });
    expect(upstream.asked.length).toBeGreaterThan(6);
    // What came twice is what was under way when the first one was let go.
    expect(upstream.sent()).toBeLessThanOrEqual(1.05 * blob.byteLength);
    expect(events.map((event) => event.type === 'segments-changed' && event.segments)).toContain(3);
    expect(events.at(-1)).toMatchObject({ type: 'segments-changed', segments: 0 });
  });

  test('keeps no more in memory than what is about to be written', async () => {
    const { file, body } = await start({ blob, link: steadyLink(5, 100_000), chunkBytes: 10_000 });
    let pending = 0;
    let most = 0;
    const { place } = file;
    file.place = async (chunks, position) => {
      const bytes = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
      pending += bytes;
      most = Math.max(most, pending);
      await place(chunks, position);
      pending -= bytes;
    };
    expect((await fill(body, file, blob)).stored.equals(blob)).toBe(true);
    expect(most).toBeLessThanOrEqual(5 * 256 * 1024);
  });

  test.each<[string, Fault]>([
    ['sends the whole', { kind: 'whole' }],
    ['tells of another size', { kind: 'wrong total' }],
    ['has something else', { kind: 'other content' }],
    ['has no such part', { kind: 'absent' }],
    ['has had too many requests', { kind: 'limited' }],
  ])('goes on over its first connection where the upstream %s', async (_, wrong) => {
    const link = steadyLink(1, 50_000);
    const { upstream, file, body, events } = await start({ blob, faults: [{ kind: 'ok' }, wrong], link });
    expect((await fill(body, file, blob)).stored.equals(blob)).toBe(true);
    expect(upstream.asked).toHaveLength(1);
    expect(upstream.sent()).toBeLessThanOrEqual(1.05 * blob.byteLength);
    expect(link.refusedUntil).toBeGreaterThan(0);
    expect(events).toEqual([
      expect.objectContaining({ type: 'segments-changed', segments: 0, error: expect.any(String) }),
    ]);
  });

  test.each<[string, Partial<FetchedBlob>]>([
    ['whose size', { total: undefined } as never],
    ['of which no strong validator', { validator: undefined } as never],
  ])('asks for no parts of a blob %s is known', async (_, first) => {
    const { upstream, file, body } = await start({ blob, link: steadyLink(3, 50_000), first });
    expect((await fill(body, file, blob)).stored.equals(blob)).toBe(true);
    expect(upstream.asked).toEqual([]);
  });

  test('asks for no parts of a small blob, nor while a host of the upstream is not well', async () => {
    const small = await start({ blob, link: { ...steadyLink(3, 50_000), minSize: blob.byteLength + 1 } });
    expect((await fill(small.body, small.file, blob)).stored.equals(blob)).toBe(true);
    expect(small.upstream.asked).toEqual([]);
    const troubled = await start({ blob, link: steadyLink(3, 50_000), isCalm: () => false });
    expect((await fill(troubled.body, troubled.file, blob)).stored.equals(blob)).toBe(true);
    expect(troubled.upstream.asked).toEqual([]);
  });

  test('asks again for what a segment that broke off has left', async () => {
    const cut: Fault = { kind: 'cut', after: 20_000 };
    const link = steadyLink(1, 50_000);
    const { upstream, file, body } = await start({ blob, faults: [{ kind: 'ok' }, cut, cut], link });
    expect((await fill(body, file, blob)).stored.equals(blob)).toBe(true);
    expect(upstream.asked.slice(0, 3).map(({ from }) => from)).toEqual([950_000, 970_000, 990_000]);
    expect(link.failures).toBe(2);
    expect(upstream.sent()).toBeLessThanOrEqual(1.05 * blob.byteLength);
  });

  test('goes on over its first connection where others break off ever again', async () => {
    const cut: Fault = { kind: 'cut', after: 2_000 };
    const link = steadyLink(1, 50_000);
    const { upstream, file, body } = await start({ blob, faults: [{ kind: 'ok' }, ...Array(30).fill(cut)], link });
    expect((await fill(body, file, blob)).stored.equals(blob)).toBe(true);
    expect(link.failures).toBe(9);
    expect(upstream.asked).toHaveLength(9);
    expect(upstream.sent()).toBeLessThanOrEqual(1.05 * blob.byteLength);
  });

  test('asked for minutes on end where nothing came any more, while its readers waited', async () => {
    const cut = (after: number): Fault => ({ kind: 'cut', after });
    const faults: Fault[] = [{ kind: 'ok' }, cut(20_000), ...Array(30).fill(cut(0))];
    const { upstream, file, body } = await start({ blob, faults, link: steadyLink(1, 50_000) });
    expect((await fill(body, file, blob)).stored.equals(blob)).toBe(true);
    expect(upstream.asked).toHaveLength(4);
  });

  test('fails as the spool does, where a segment cannot be written', async () => {
    const { upstream, file, body } = await start({ blob, link: steadyLink(3, 50_000) });
    file.place = () => Promise.reject(new Error('ENOSPC'));
    await expect(fill(body, file, blob)).rejects.toMatchObject({ code: 'storage-failed' });
    expect(upstream.under.way).toBe(0);
  });

  test('fails as the spool does, where what segments wrote cannot be read', async () => {
    const { upstream, file, body } = await start({ blob, link: steadyLink(3, 50_000) });
    file.read = () => Promise.reject(new Error('EIO'));
    await expect(fill(body, file, blob)).rejects.toMatchObject({ code: 'storage-failed' });
    expect(upstream.under.way).toBe(0);
  });

  test.each(['its reader leaves', 'it is cut off'])('ends all its connections when %s', async (how) => {
    const { upstream, file, body, stop } = await start({ blob, link: steadyLink(3, 50_000) });
    const source = body[Symbol.asyncIterator]();
    while (upstream.under.way < 4) await source.next();
    const reason = new Error('closing');
    if (how === 'it is cut off') {
      stop.abort(reason);
      await expect(
        (async () => {
          while (!(await source.next()).done);
        })(),
      ).rejects.toBe(reason);
    } else await source.return?.();
    expect(await source.next()).toEqual({ done: true, value: undefined });
    expect(upstream.under.way).toBe(0);
    await file.close();
  });
});
