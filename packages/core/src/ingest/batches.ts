import { type Bytes, discard } from '../runtime/bytes.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { SharedBytes, SharedMemory } from './shared-bytes.ts';

/** What is hashed, written and passed on at once: each of them costs by the piece. */
const batchBytes = 256 * 1024;

/** What is passed on as it is: a lane gathers by itself, and to copy that much costs more than a batch saves. */
const worthPassing = 128 * 1024;

/** How long bytes wait for more to come, in ms: at a gigabit a batch takes as long. The first ones do not wait. */
const gatherMs = 2;

/** What a body is put into batches with. */
export interface Gathering {
  slabs: Slabs;
  /** Makes memory shared, held by its maker. */
  share(memory: Uint8Array): SharedMemory;
  /** The size of the whole, where it is known: the first byte over it is the last that is waited for. */
  limit(): number | undefined;
  /** Default: the machine's, as an upstream takes its time whatever clock the cache was given. */
  clock?: Clock;
}

/**
 * The same body in batches: small chunks are copied next to each other, large ones are passed on as they are. What has
 * come is given when it is a batch, or when nothing more has come for a while. Each batch is held for its taker.
 */
export function inBatches(
  body: Bytes,
  { slabs, share, limit, clock = systemClock }: Gathering,
): AsyncIterable<SharedBytes> {
  const source = body[Symbol.asyncIterator]();
  const ready: SharedBytes[] = [];
  let slab: { bytes: Uint8Array; memory: SharedMemory; from: number; to: number } | undefined;
  let received = 0;
  let isAsked = false;
  // Somebody waits for the first byte.
  let isDue = true;
  let end: { failure?: { error: unknown }; closed?: Promise<void> } | undefined;
  let lastAt = Number.NEGATIVE_INFINITY;
  let cancelWait: (() => void) | undefined;
  let taker:
    | { resolve(result: IteratorResult<SharedBytes, undefined>): void; reject(error: unknown): void }
    | undefined;

  /** Makes a batch of what was copied so far. */
  function flush(): void {
    if (!slab || slab.to === slab.from) return;
    slab.memory.hold();
    ready.push({ bytes: slab.bytes.subarray(slab.from, slab.to), memory: slab.memory });
    slab.from = slab.to;
  }

  function dropSlab(): void {
    slab?.memory.letGo();
    slab = undefined;
  }

  function add(chunk: Uint8Array): void {
    if (chunk.byteLength >= worthPassing) {
      flush();
      ready.push({ bytes: chunk, memory: share(chunk) });
      return;
    }
    for (let rest = chunk; rest.byteLength > 0; ) {
      slab ??= freshSlab();
      const { bytes, to } = slab;
      const part = rest.subarray(0, bytes.byteLength - to);
      bytes.set(part, to);
      slab.to = to + part.byteLength;
      rest = rest.subarray(part.byteLength);
      if (slab.to - slab.from >= batchBytes || slab.to === bytes.byteLength) flush();
      if (slab.to === bytes.byteLength) dropSlab();
    }
    slabs.give(chunk);
  }

  function freshSlab(): NonNullable<typeof slab> {
    const bytes = slabs.take();
    return { bytes, memory: share(bytes), from: 0, to: 0 };
  }

  function ask(): void {
    if (isAsked || end) return;
    isAsked = true;
    source.next().then(arrived, broke);
  }

  function arrived({ done, value }: IteratorResult<Uint8Array>): void {
    isAsked = false;
    if (end) {
      if (!done) slabs.give(value);
      return;
    }
    if (done) end = {};
    else {
      received += value.byteLength;
      try {
        add(value);
        if (received > (limit() ?? received)) end = { closed: discard({ [Symbol.asyncIterator]: () => source }) };
      } catch (error) {
        // There may be no memory.
        end = { failure: { error }, closed: discard({ [Symbol.asyncIterator]: () => source }) };
      }
    }
    serve();
  }

  function broke(error: unknown): void {
    end ??= { failure: { error } };
    serve();
  }

  function serve(): void {
    if (!taker) return;
    if (ready.length === 0 && (isDue || end)) flush();
    const batch = ready.shift();
    if (batch) give(batch);
    else if (end) finish();
    else {
      ask();
      if (slab && slab.to > slab.from) cancelWait ??= wait();
    }
  }

  function give(value: SharedBytes): void {
    isDue = false;
    lastAt = clock.monotonic();
    stopWaiting();
    const { resolve } = taker as NonNullable<typeof taker>;
    taker = undefined;
    resolve({ done: false, value });
  }

  function finish(): void {
    const { resolve, reject } = taker as NonNullable<typeof taker>;
    taker = undefined;
    letGo();
    const { failure, closed } = end as NonNullable<typeof end>;
    if (failure) reject(failure.error);
    else void Promise.resolve(closed).then(() => resolve({ done: true, value: undefined }));
  }

  function wait(): () => void {
    const due = () => {
      cancelWait = undefined;
      isDue = true;
      serve();
    };
    const ms = lastAt + gatherMs - clock.monotonic();
    if (ms > 0) return clock.after(ms, due);
    const immediate = setImmediate(due);
    return () => clearImmediate(immediate);
  }

  function stopWaiting(): void {
    cancelWait?.();
    cancelWait = undefined;
  }

  function letGo(): void {
    stopWaiting();
    for (const { memory } of ready.splice(0)) memory.letGo();
    dropSlab();
  }

  const iterator: AsyncIterator<SharedBytes, undefined> = {
    next: () =>
      new Promise((resolve, reject) => {
        taker = { resolve, reject };
        serve();
      }),
    async return() {
      end ??= {};
      letGo();
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
