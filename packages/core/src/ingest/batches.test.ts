import { feed, seededBytes } from '@proxycache/test-kit';
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import type { Bytes } from '../runtime/bytes.ts';
import { createSlabs, type Slabs } from '../runtime/slabs.ts';
import { inBatches } from './batches.ts';
import { shareMemory } from './shared-bytes.ts';

const KiB = 1024;

/** Slabs of which it is known which are out. */
function countedSlabs(maxBytes = 64 * KiB * KiB) {
  const slabs = createSlabs(maxBytes);
  const out = new Set<ArrayBufferLike>();
  const counted: Slabs = {
    take() {
      const memory = slabs.take();
      out.add(memory.buffer);
      return memory;
    },
    give(memory) {
      out.delete(memory.buffer);
      slabs.give(memory);
    },
  };
  return Object.assign(counted, { out });
}

function batched(body: Bytes, { slabs = countedSlabs(), limit = undefined as number | undefined } = {}) {
  const share = (memory: Uint8Array) => shareMemory(() => slabs.give(memory));
  return inBatches(body, { slabs, share, limit: () => limit })[Symbol.asyncIterator]();
}

/** Takes all; their bytes, copied. */
async function drained(batches: ReturnType<typeof batched>): Promise<Buffer[]> {
  const got: Buffer[] = [];
  for (let next = await batches.next(); !next.done; next = await batches.next()) {
    got.push(Buffer.from(next.value.bytes));
    next.value.memory.letGo();
  }
  return got;
}

const lengths = (buffers: readonly Uint8Array[]) => buffers.map(({ byteLength }) => byteLength / KiB);
const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

it('gives the same bytes, however they are cut, and all memory back', async () => {
  const cuts = fc.array(fc.oneof(fc.nat(9), fc.nat(70 * KiB), fc.nat(900 * KiB)), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(cuts, fc.constantFrom(0, 64 * KiB * KiB), async (sizes, maxBytes) => {
      const slabs = countedSlabs(maxBytes);
      const chunks = sizes.map((size, i) => seededBytes(`${i}`, size));
      const body = feed(...chunks);
      body.end();
      const got = await drained(batched(body.bytes, { slabs }));
      expect(Buffer.concat(got).equals(Buffer.concat(chunks))).toBe(true);
      expect(got.every(({ byteLength }) => byteLength > 0)).toBe(true);
      expect(slabs.out.size).toBe(0);
    }),
    { numRuns: 30 },
  );
});

it('passes the first chunk on at once, makes batches of 256 KiB of what has come since, and passes what is larger on as it is', async () => {
  const small = Array.from({ length: 10 }, () => new Uint8Array(64 * KiB));
  const body = feed(...small, new Uint8Array(600 * KiB), new Uint8Array(KiB));
  body.end();
  expect(lengths(await drained(batched(body.bytes)))).toEqual([64, 256, 192, 128, 600, 1]);
});

it('keeps nobody waiting for more than has come', async () => {
  const body = feed(new Uint8Array(10 * KiB));
  const batches = batched(body.bytes);
  const first = await batches.next();
  expect(first.value?.bytes.byteLength).toBe(10 * KiB);
  const second = batches.next();
  await turns(2);
  body.push(new Uint8Array(KiB));
  expect((await second).value?.bytes.byteLength).toBe(KiB);
  await batches.return?.();
});

it('gives memory of the slabs back as soon as it was copied', async () => {
  const slabs = countedSlabs();
  const memory = slabs.take();
  const body = feed(memory.subarray(0, 10));
  const batches = batched(body.bytes, { slabs });
  const { value } = await batches.next();
  expect(slabs.out.has(memory.buffer)).toBe(false);
  expect([...slabs.out]).toEqual([value!.bytes.buffer]);
  value!.memory.letGo();
  await batches.return?.();
  expect(slabs.out.size).toBe(0);
});

it('takes no byte beyond the one that is over the limit, and closes the body', async () => {
  const body = feed(new Uint8Array(3), new Uint8Array(2), new Uint8Array(1));
  const got = await drained(batched(body.bytes, { limit: 4 }));
  expect(got.map(({ byteLength }) => byteLength)).toEqual([3, 2]);
  expect([body.taken, body.closed]).toEqual([2, true]);
});

it('gives what came before a failure', async () => {
  const body = feed(new Uint8Array(3));
  body.fail(new Error('cut off'));
  const slabs = countedSlabs();
  const batches = batched(body.bytes, { slabs });
  const { value } = await batches.next();
  expect(value?.bytes.byteLength).toBe(3);
  value?.memory.letGo();
  await expect(batches.next()).rejects.toThrow('cut off');
  expect(slabs.out.size).toBe(0);
});

it('fails, and closes the body, where there is no memory', async () => {
  const body = feed(new Uint8Array(3));
  const slabs = countedSlabs();
  vi.spyOn(slabs, 'take').mockImplementation(() => {
    throw new RangeError('Array buffer allocation failed');
  });
  await expect(batched(body.bytes, { slabs }).next()).rejects.toThrow('allocation failed');
  expect(body.closed).toBe(true);
});

it('can be left at any time: the body is closed at once, and all memory goes back', async () => {
  for (const taken of [0, 1, 2]) {
    const slabs = countedSlabs();
    const body = feed(...Array.from({ length: 9 }, () => new Uint8Array(64 * KiB)));
    const batches = batched(body.bytes, { slabs });
    for (let i = 0; i < taken; i++) (await batches.next()).value?.memory.letGo();
    await batches.return?.();
    expect(body.closed).toBe(true);
    const late = slabs.take();
    body.push(late);
    await turns(2);
    slabs.give(late);
    expect(slabs.out.size).toBe(0);
  }
});
