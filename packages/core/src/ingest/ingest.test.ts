import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Feed,
  type FlakyStorage,
  feed,
  flakyStore,
  gate,
  type ManualClock,
  manualClock,
  openFiles,
  seededBytes,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import { bytesOf, collect } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createSlabs } from '../runtime/slabs.ts';
import { fileStorage } from '../store/file-storage.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import { createIngest, type Ingest, type IngestRequest } from './ingest.ts';
import { openSpool, type Spool } from './spool.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const bytes = seededBytes('blob', 3 * MiB);
const small = seededBytes('small', 1000);
const buffers = createBuffers(8 * MiB);
const slabs = createSlabs(64 * 1024 * 1024);

let directory: string;
let clock: ManualClock;
let storage: FlakyStorage;
let spool: Spool;
let events: { type: string; outcome?: string; operation?: string; error?: string }[];
let stop: AbortController;
const unhandled: unknown[] = [];
const note = (error: unknown) => unhandled.push(error);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ingest-'));
  clock = manualClock();
  storage = flakyStore(fileStorage(directory, { clock }));
  spool = openSpool({ directory: storage.spoolDirectory, minFree: 0, clock });
  events = [];
  stop = new AbortController();
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});
afterEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 1));
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
  expect(openFiles(directory)).toEqual([]);
  expect(spooled()).toEqual([]);
  spool.close();
  rmSync(directory, { recursive: true });
});

/** The files in the spool. */
function spooled(): string[] {
  const found = readdirSync(storage.spoolDirectory, { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile()).map(({ name }) => name);
}

/** What an upstream answers with: each body is for one request. */
function ingest(of: Uint8Array, bodies: (Feed | Reply<FetchedBlob> | Error)[], changes: Partial<IngestRequest> = {}) {
  let asked = 0;
  const request: IngestRequest = {
    upstream: 'up',
    repository: 'team/app',
    digest: digestOf(of),
    async fetch() {
      const next = bodies[asked++];
      if (next instanceof Error) throw next;
      if (next === undefined) throw new Error('asked once too often');
      if ('kind' in next) return next;
      return { kind: 'found', value: { start: 0, total: of.byteLength, body: next.bytes } };
    },
    resumeWithinMs: 120_000,
    firstByteWithinMs: 60_000,
    ...changes,
  };
  const parts = {
    spool,
    blobs: storage.blobs,
    buffers,
    slabs,
    clock,
    observe: (event: (typeof events)[0]) => events.push(event),
  };
  const started = createIngest(request, parts, stop.signal);
  return Object.assign(started, { asked: () => asked });
}

/** A body that is there whole. */
function whole(of: Uint8Array): Feed {
  const body = feed(of.subarray(0, of.byteLength / 2), of.subarray(of.byteLength / 2));
  body.end();
  return body;
}

async function stored(of: Uint8Array): Promise<boolean> {
  const blob = await storage.blobs.open(digestOf(of), { signal: new AbortController().signal });
  await blob?.close();
  return blob !== undefined;
}

/** How the only ingest ended. */
const outcome = () => events.find(({ type }) => type === 'ingest-ended')?.outcome;

async function readWhole(from: Ingest): Promise<Buffer> {
  await from.reply;
  const hold = from.hold()!;
  try {
    return Buffer.from((await collect(hold.follow(), 1e9))!);
  } finally {
    await hold.release();
    await hold.release();
  }
}

it('brings a blob in, to its readers and to the store', async () => {
  const running = ingest(bytes, [whole(bytes)]);
  expect(running.hold()).toBeUndefined();
  expect(running.releasable()).toBe(0);
  expect((await readWhole(running)).equals(bytes)).toBe(true);
  await running.verified;
  await running.ended;
  expect(await stored(bytes)).toBe(true);
  expect(running.hold()).toBeUndefined();
  expect(events).toEqual([
    { type: 'ingest-started', upstream: 'up', repository: 'team/app', digest: digestOf(bytes) },
    expect.objectContaining({ type: 'ingest-ended', outcome: 'stored', bytes: bytes.byteLength, durationMs: 0 }),
  ]);
});

it('told a blob as stored while its proof was yet to be written, so that a kill -9 then lost it', async () => {
  const written = gate();
  const started = ingest(small, [whole(small)], { prove: () => written.pass() });
  await started.verified;
  await written.reached;
  await expect.poll(() => stored(small)).toBe(true);
  // Whatever follows an adopt is done after so many turns with the disk.
  for (let turn = 0; turn < 50; turn++) await stat(directory);
  expect(outcome()).toBeUndefined();
  written.open();
  await started.ended;
  expect(outcome()).toBe('stored');
});

it.each([0, 1])('brings in a blob of %i bytes', async (size) => {
  const blob = seededBytes('tiny', size);
  const running = ingest(blob, [whole(blob)]);
  expect((await readWhole(running)).equals(blob)).toBe(true);
  await running.ended;
  expect(await stored(blob)).toBe(true);
});

it('brings in a blob whose size the upstream does not say', async () => {
  const running = ingest(bytes, [{ kind: 'found', value: { start: 0, body: whole(bytes).bytes } }]);
  expect(await running.reply).toEqual({ kind: 'found', value: { total: undefined } });
  expect((await readWhole(running)).equals(bytes)).toBe(true);
  await running.ended;
  expect(outcome()).toBe('stored');
});

it('34: claims room again and again for a body whose size the upstream does not say', async () => {
  const claimed: number[] = [];
  const claim = spool.claim;
  spool.claim = async (file, room) => {
    claimed.push(room / MiB);
    if (room > 100 * MiB) throw new ProxyCacheError('storage-full', 'no more room');
    await claim(file, room);
  };
  const chunk = new Uint8Array(MiB);
  const given = vi.fn(() => chunk);
  async function* endless() {
    for (;;) yield given();
  }
  const running = ingest(bytes, [{ kind: 'found', value: { start: 0, body: endless() } }]);
  await expect(running.verified).rejects.toMatchObject({ code: 'storage-full' });
  await running.ended;
  expect(claimed).toEqual([0, 64, 129]);
  expect(given).toHaveBeenCalledTimes(65);
  expect(running.received()).toBe(64 * MiB);
});

it('takes the place of what is stored, whatever that is', async () => {
  const signal = new AbortController().signal;
  await storage.blobs.put({ digest: digestOf(small), bytes: new Uint8Array(small.byteLength), signal });
  await ingest(small, [whole(small)]).ended;
  const blob = (await storage.blobs.open(digestOf(small), { signal }))!;
  const into = Buffer.alloc(small.byteLength);
  if (blob.kind === 'file') await blob.read(into, 0);
  await blob.close();
  expect(into.equals(small)).toBe(true);
});

it('goes on when its readers leave', async () => {
  const body = feed(bytes.subarray(0, 2 * MiB));
  const running = ingest(bytes, [body]);
  await running.reply;
  const hold = running.hold()!;
  const reader = hold.follow()[Symbol.asyncIterator]();
  await reader.next();
  await reader.return?.();
  await hold.release();
  body.push(bytes.subarray(2 * MiB));
  body.end();
  await running.ended;
  expect(await stored(bytes)).toBe(true);
});

it('is held readable by a reader that is slower than the store', async () => {
  const running = ingest(bytes, [whole(bytes)]);
  await running.reply;
  const hold = running.hold()!;
  const reader = hold.follow()[Symbol.asyncIterator]();
  const first = Buffer.from((await reader.next()).value!);
  await running.ended;
  expect(hold.isVerified()).toBe(true);
  expect(hold.received()).toBe(bytes.byteLength);
  // As long as somebody holds it, others can.
  const other = running.hold()!;
  await hold.release();
  const rest = Buffer.from((await collect({ [Symbol.asyncIterator]: () => reader }, 1e9))!);
  expect(Buffer.concat([first, rest]).equals(bytes)).toBe(true);
  expect(
    Buffer.from((await collect(other.follow({ part: { from: 7, to: 9 } }), 1e9))!).equals(bytes.subarray(7, 10)),
  ).toBe(true);
  await other.release();
  expect(running.hold()).toBeUndefined();
});

describe('what the upstream says', () => {
  it('no: is the reply, and nothing is left', async () => {
    const absent = { kind: 'absent', code: 'BLOB_UNKNOWN', message: 'no such blob' } as const;
    const running = ingest(bytes, [absent]);
    expect(await running.reply).toEqual(absent);
    await expect(running.verified).rejects.toThrow('up has no');
    await running.ended;
    expect(outcome()).toBe('refused');
  });

  it('nothing: is the failure', async () => {
    const running = ingest(bytes, [new Error('no connection')]);
    await expect(running.reply).rejects.toThrow('no connection');
    await expect(running.verified).rejects.toThrow('no connection');
    await running.ended;
    expect(outcome()).toBe('failed');
  });

  it('a part, where all was asked for: is not taken', async () => {
    const body = whole(bytes);
    const running = ingest(bytes, [{ kind: 'found', value: { start: 5, total: bytes.byteLength, body: body.bytes } }]);
    await expect(running.reply).rejects.toMatchObject({ code: 'foreign-answer' });
    await running.ended;
    expect(body.closed).toBe(true);
  });

  it('a body that breaks off: the rest is asked for, and nobody notices', async () => {
    const body = feed(bytes.subarray(0, 2 * MiB));
    const asked: unknown[] = [];
    const running = ingest(bytes, [], {
      async fetch(from, _signal, ifMatch) {
        asked.push([from, ifMatch]);
        const found = { start: from, total: bytes.byteLength, validator: '"v"' };
        return { kind: 'found', value: { ...found, body: from === 0 ? body.bytes : bytesOf(bytes.subarray(from)) } };
      },
    });
    const reading = readWhole(running);
    body.fail(new UpstreamError('unreachable', 'cut off', { upstream: 'up' }));
    expect((await reading).equals(bytes)).toBe(true);
    await running.ended;
    expect(asked).toEqual([
      [0, undefined],
      [2 * MiB, '"v"'],
    ]);
    expect(await stored(bytes)).toBe(true);
    expect(events.map(({ type }) => type)).toEqual(['ingest-started', 'ingest-resumed', 'ingest-ended']);
    expect(events[1]).toMatchObject({ digest: digestOf(bytes), from: 2 * MiB, attempt: 1, error: 'cut off' });
  });

  it('a body that breaks off and does not go on: fails its readers, and is not stored', async () => {
    const body = feed(bytes.subarray(0, 2 * MiB));
    const running = ingest(bytes, [body], { resumeWithinMs: 0 });
    const reading = readWhole(running);
    body.fail(new UpstreamError('unreachable', 'cut off', { upstream: 'up' }));
    await expect(reading).rejects.toMatchObject({ code: 'unreachable', cause: { message: 'cut off' } });
    await running.ended;
    expect(running.asked()).toBe(1);
    expect(await stored(bytes)).toBe(false);
    expect(events.at(-1)).toMatchObject({ outcome: 'failed', error: expect.stringContaining('cut off') });
  });
});

describe('18: wrong bytes', () => {
  const wrong = (of: Uint8Array) => of.map((byte, i) => (i === 0 ? byte ^ 1 : byte));

  it('of a small blob are asked for once more, and nobody notices', async () => {
    const running = ingest(small, [whole(wrong(small)), whole(small)]);
    expect((await readWhole(running)).equals(small)).toBe(true);
    await running.ended;
    expect(running.asked()).toBe(2);
    expect(await stored(small)).toBe(true);
  });

  it('of a small blob twice are a mismatch, of which no byte was given', async () => {
    const running = ingest(small, [whole(wrong(small)), whole(wrong(small))]);
    await running.reply;
    const hold = running.hold()!;
    const reader = hold.follow()[Symbol.asyncIterator]();
    await expect(reader.next()).rejects.toMatchObject({ code: 'digest-mismatch' });
    await hold.release();
    await running.ended;
    expect(running.asked()).toBe(2);
    expect(await stored(small)).toBe(false);
  });

  it('are a mismatch where the second try is refused', async () => {
    const running = ingest(small, [whole(wrong(small)), { kind: 'denied', status: 403, message: '' }]);
    await expect(running.verified).rejects.toMatchObject({ code: 'digest-mismatch' });
    await running.ended;
  });

  it('of a large blob are asked for once more, for those who have none of them', async () => {
    const body = feed(wrong(bytes).subarray(0, 2 * MiB));
    const running = ingest(bytes, [body, whole(bytes)]);
    await running.reply;
    const hold = running.hold()!;
    const begun = hold.follow()[Symbol.asyncIterator]();
    await begun.next();
    const fresh = hold.follow({ part: { from: MiB, to: bytes.byteLength - 1 } });
    const rest = collect({ [Symbol.asyncIterator]: () => begun }, 1e9);
    const refused = expect(rest).rejects.toMatchObject({ code: 'digest-mismatch' });
    body.push(wrong(bytes).subarray(2 * MiB));
    body.end();
    await refused;
    expect(Buffer.from((await collect(fresh, 1e9))!).equals(bytes.subarray(MiB))).toBe(true);
    await hold.release();
    await running.ended;
    expect(running.asked()).toBe(2);
    expect(await stored(bytes)).toBe(true);
    expect(events.filter(({ type }) => type === 'ingest-restarted')).toHaveLength(1);
  });

  it('of a large blob twice are a mismatch', async () => {
    const running = ingest(bytes, [whole(wrong(bytes)), whole(wrong(bytes))]);
    await expect(readWhole(running)).rejects.toMatchObject({ code: 'digest-mismatch' });
    await running.ended;
    expect(running.asked()).toBe(2);
    expect(await stored(bytes)).toBe(false);
  });

  it('too few of them, where nobody told how many, are asked for once more: nobody has a wrong one', async () => {
    const bodies = [whole(bytes.subarray(0, 2 * MiB)), whole(bytes)];
    const running = ingest(bytes, [], {
      async fetch() {
        return { kind: 'found', value: { start: 0, body: bodies.shift()!.bytes } };
      },
    });
    expect((await readWhole(running)).equals(bytes)).toBe(true);
    await running.ended;
    expect(await stored(bytes)).toBe(true);
  });

  it('too many of them are a mismatch, without waiting for their end', async () => {
    const bodies = [feed(bytes, Buffer.from('x')), feed(bytes, Buffer.from('x'))];
    let asked = 0;
    const running = ingest(bytes, [], {
      async fetch() {
        return { kind: 'found', value: { start: 0, total: bytes.byteLength - 1, body: bodies[asked++]!.bytes } };
      },
    });
    await expect(running.verified).rejects.toMatchObject({ code: 'digest-mismatch' });
    await running.ended;
    expect(bodies.map(({ closed }) => closed)).toEqual([true, true]);
  });

  it('leave no file where there is none for the second try', async () => {
    const create = spool.create;
    vi.spyOn(spool, 'create')
      .mockImplementationOnce(create)
      .mockRejectedValue(Object.assign(new Error('read-only'), { code: 'storage-failed' }));
    const running = ingest(bytes, [whole(wrong(bytes))]);
    await expect(running.verified).rejects.toMatchObject({ code: 'storage-failed' });
    await running.ended;
  });
});

describe('18: another number of bytes than was told before', () => {
  const wrong = bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
  const found = (body: Feed, total: number | undefined, start = 0): Reply<FetchedBlob> => ({
    kind: 'found',
    value: { start, ...(total !== undefined && { total }), body: body.bytes },
  });

  it.each([bytes.byteLength, undefined])('does not bind the second try, which tells %s', async (total) => {
    const short = wrong.subarray(0, 2 * MiB);
    const running = ingest(bytes, [found(whole(short), short.byteLength), found(whole(bytes), total)]);
    await running.reply;
    const hold = running.hold()!;
    await running.ended;
    expect(outcome()).toBe('stored');
    expect(Buffer.from((await collect(hold.follow(), 1e9))!).equals(bytes)).toBe(true);
    await hold.release();
  });

  it('twice in the middle costs one more request for all, not the pull', async () => {
    const body = feed(bytes.subarray(0, 2 * MiB));
    const other = () => found(feed(), bytes.byteLength + 1, 2 * MiB);
    const running = ingest(bytes, [
      found(body, bytes.byteLength),
      other(),
      other(),
      found(whole(bytes), bytes.byteLength),
    ]);
    const reading = readWhole(running);
    reading.catch(() => undefined);
    body.fail(new UpstreamError('unreachable', 'cut off', { upstream: 'up' }));
    while (running.asked() < 3 && outcome() === undefined) await clock.advance(1_000);
    await running.ended;
    expect((await reading).equals(bytes)).toBe(true);
    expect(running.asked()).toBe(4);
    expect(outcome()).toBe('stored');
    expect(events.filter(({ type }) => type === 'ingest-restarted')).toHaveLength(1);
  });
});

it('claims no room of the disk any more once it failed, however slow a reader it has', async () => {
  const claimed = new Set<unknown>();
  const { claim, release } = spool;
  spool.claim = async (file, room) => {
    claimed.add(file);
    await claim(file, room);
  };
  spool.release = (file) => {
    claimed.delete(file);
    release(file);
  };
  const body = feed(bytes.subarray(0, 2 * MiB));
  const running = ingest(bytes, [body], { resumeWithinMs: 0 });
  await running.reply;
  const hold = running.hold()!;
  expect(claimed.size).toBe(1);
  body.fail(new UpstreamError('unreachable', 'cut off', { upstream: 'up' }));
  await running.ended;
  expect(claimed.size).toBe(0);
  await hold.release();
});

describe('a store that fails', () => {
  it('to adopt costs no reader anything', async () => {
    storage.on('blobs.adopt', { fail: 'the store is away' });
    const running = ingest(bytes, [whole(bytes)]);
    expect((await readWhole(running)).equals(bytes)).toBe(true);
    await running.ended;
    expect(events.at(-2)).toMatchObject({ type: 'store-failed', operation: 'adopt', error: 'the store is away' });
    expect(outcome()).toBe('unstored');
  });

  it('to answer keeps the blob readable meanwhile', async () => {
    const held = gate();
    storage.on('blobs.adopt', { gate: held });
    const running = ingest(bytes, [whole(bytes)]);
    await held.reached;
    await running.verified;
    expect((await readWhole(running)).equals(bytes)).toBe(true);
    held.open();
    await running.ended;
    expect(outcome()).toBe('stored');
  });
});

describe('a spool that fails', () => {
  it('for want of room asks nobody', async () => {
    spool.close();
    spool = openSpool({ directory: storage.spoolDirectory, minFree: Number.MAX_SAFE_INTEGER, clock });
    const running = ingest(bytes, [whole(bytes)]);
    await expect(running.reply).rejects.toMatchObject({ code: 'storage-full' });
    await running.ended;
    expect(running.asked()).toBe(0);
    expect(outcome()).toBe('failed');
  });

  it('for want of room, once the size is known, closes the body', async () => {
    const body = whole(bytes);
    vi.spyOn(spool, 'claim').mockImplementation(async (_, size) => {
      if (size > 0) throw Object.assign(new Error('full'), { code: 'storage-full' });
    });
    const running = ingest(bytes, [body]);
    await expect(running.reply).rejects.toMatchObject({ code: 'storage-full' });
    await running.ended;
    expect(body.closed).toBe(true);
  });

  it('to be created is storage-failed', async () => {
    vi.spyOn(spool, 'create').mockRejectedValue(Object.assign(new Error('read-only'), { code: 'storage-failed' }));
    const running = ingest(bytes, [whole(bytes)]);
    await expect(running.reply).rejects.toMatchObject({ code: 'storage-failed' });
    await running.ended;
  });
});

it.each(['storage-full', 'storage-failed'])('%s in the middle leaves its readers to go on alone', async (code) => {
  const claim = spool.claim;
  const gone = new ProxyCacheError(code as 'storage-full', 'no more room');
  let claims = 0;
  spool.claim = async (file, room) => {
    // The first is for nothing known, the second for the answer, the third for what is beyond that.
    if (++claims > 2) throw gone;
    await claim(file, room);
  };
  const large = seededBytes('large', 66 * MiB);
  const chunks = Array.from({ length: 66 }, (_, i) => large.subarray(i * MiB, (i + 1) * MiB));
  const running = ingest(large, [{ kind: 'found', value: { start: 0, body: feed(...chunks).bytes } }]);
  await running.reply;
  const hold = running.hold()!;
  const positions: number[] = [];
  const read = hold.follow({
    goOn({ position, prefix, cause }) {
      positions.push(position);
      expect([prefix!.length, cause]).toEqual([position, gone]);
      return bytesOf(large.subarray(position));
    },
  });
  expect(Buffer.from((await collect(read, 1e9))!).equals(large)).toBe(true);
  expect(positions).toHaveLength(1);
  await expect(running.verified).rejects.toBe(gone);
  await hold.release();
  await running.ended;
  expect(running.hold()).toBeUndefined();
});

describe('a spool that hangs', () => {
  const never = () => new Promise<never>(() => undefined);

  it('in a write costs nobody the pull, and is not waited for', async () => {
    const create = spool.create;
    vi.spyOn(spool, 'create').mockImplementation(async (signal) => {
      const file = await create(signal);
      const { ready, close } = file;
      let appended = 0;
      const append = vi.spyOn(file, 'append');
      vi.spyOn(file, 'ready').mockImplementation(async () => {
        appended += append.mock.calls.at(-1)![0].byteLength;
        if (appended > 2 * MiB) throw new ProxyCacheError('storage-failed', 'the disk hangs');
        await ready();
      });
      vi.spyOn(file, 'close').mockImplementation(async () => {
        await close();
        throw new ProxyCacheError('storage-failed', 'the disk hangs');
      });
      return file;
    });
    const running = ingest(bytes, [whole(bytes)]);
    await running.reply;
    const hold = running.hold()!;
    const goOn = vi.fn(({ position }: { position: number }) => bytesOf(bytes.subarray(position)));
    const read = collect(hold.follow({ goOn }), 1e9);
    expect(Buffer.from((await read)!).equals(bytes)).toBe(true);
    expect(goOn).toHaveBeenCalledTimes(1);
    await hold.release();
    await running.ended;
    expect(outcome()).toBe('failed');
  });

  it.each(['create', 'claim'] as const)('to %s is left by a cache that closes', async (operation) => {
    const { [operation]: real } = spool;
    const signals: unknown[] = [];
    vi.spyOn(spool, operation).mockImplementation(async (...args: unknown[]): Promise<never> => {
      signals.push(args.at(-1));
      if (stop.signal.aborted) return (await (real as (...given: unknown[]) => Promise<never>)(...args)) as never;
      return await Promise.race([
        never(),
        new Promise<never>((_, reject) =>
          stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true }),
        ),
      ]);
    });
    const body = whole(bytes);
    const running = ingest(bytes, [body]);
    await vi.waitFor(() => expect([signals, running.asked()]).toEqual([[stop.signal], 1]));
    stop.abort(new Error('closed'));
    await expect(running.reply).rejects.toThrow('closed');
    await running.ended;
    await vi.waitFor(() => expect(body.closed).toBe(true));
  });
});

describe('a place in the spool', () => {
  const refusal = new ProxyCacheError('storage-failed', 'read-only');

  it('is made while the upstream is asked', async () => {
    const disk = gate();
    const { create } = spool;
    vi.spyOn(spool, 'create').mockImplementation(async (signal) => {
      await disk.pass();
      return create(signal);
    });
    const running = ingest(bytes, [whole(bytes)]);
    await vi.waitFor(() => expect(running.asked()).toBe(1));
    disk.open();
    expect((await readWhole(running)).equals(bytes)).toBe(true);
    await running.ended;
    expect([running.asked(), outcome()]).toEqual([1, 'stored']);
  });

  it.each(['create', 'claim'] as const)(
    'that is refused by %s gives up what was asked meanwhile',
    async (operation) => {
      vi.spyOn(spool, operation).mockRejectedValue(refusal);
      let asked: AbortSignal | undefined;
      const fetch = (_: number, signal: AbortSignal) => {
        asked = signal;
        return new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      };
      const running = ingest(bytes, [], { fetch });
      await expect(running.reply).rejects.toBe(refusal);
      await running.ended;
      expect(asked?.reason).toBe(refusal);
    },
  );

  it('that is refused after the upstream has answered closes the answer', async () => {
    const disk = gate();
    vi.spyOn(spool, 'create').mockImplementation(async () => {
      await disk.pass();
      throw refusal;
    });
    const body = feed();
    const running = ingest(bytes, [body]);
    await vi.waitFor(() => expect(running.asked()).toBe(1));
    disk.open();
    await expect(running.reply).rejects.toBe(refusal);
    await running.ended;
    await vi.waitFor(() => expect(body.closed).toBe(true));
  });

  it('is made first where the disk is not known to have one: nobody is asked in vain', async () => {
    vi.spyOn(spool, 'seemsReady').mockReturnValue(false);
    vi.spyOn(spool, 'create').mockRejectedValue(refusal);
    const running = ingest(bytes, [whole(bytes)], { leastSize: 7 });
    await expect(running.reply).rejects.toBe(refusal);
    await running.ended;
    expect(running.asked()).toBe(0);
    expect(spool.seemsReady).toHaveBeenCalledWith(7);
  });
});

describe('its signal ends it', () => {
  const gone = new Error('the cache was closed');

  it('before anything is done', async () => {
    stop.abort(gone);
    const running = ingest(bytes, [whole(bytes)]);
    await expect(running.reply).rejects.toBe(gone);
    await running.ended;
    expect(running.asked()).toBe(0);
  });

  it('while the upstream is asked', async () => {
    const running = ingest(bytes, [], {
      fetch: (_, signal) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort(gone);
    await expect(running.reply).rejects.toBe(gone);
    await running.ended;
  });

  it('while the blob comes in', async () => {
    const body = feed(bytes.subarray(0, 2 * MiB));
    stop.signal.addEventListener('abort', () => body.fail(gone));
    const running = ingest(bytes, [body]);
    const reading = readWhole(running);
    await running.reply;
    stop.abort(gone);
    await expect(reading).rejects.toBe(gone);
    await running.ended;
  });

  it('while the store takes it: its readers have it all the same', async () => {
    storage.on('blobs.adopt', { hang: true });
    const running = ingest(bytes, [whole(bytes)]);
    await running.verified;
    const hold = running.hold()!;
    stop.abort(gone);
    await running.ended;
    expect(outcome()).toBe('unstored');
    expect(Buffer.from((await collect(hold.follow(), 1e9))!).equals(bytes)).toBe(true);
    await hold.release();
  });
});
