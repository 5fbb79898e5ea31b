import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import type { ThrottleShare } from '../runtime/throttle.ts';

/** Where a response's bytes come from: the socket, which is paused while nobody takes what it brought. */
export interface BodySource {
  pause(): void;
  resume(): void;
  /** Gives the rest up: the socket is closed. */
  abandon(): void;
  /** Told each chunk that nobody will read. */
  unread(chunk: Uint8Array): void;
}

/** A response's body, filled by the exchange that it belongs to. */
export interface ResponseBody {
  bytes: Bytes;
  push(chunk: Uint8Array): void;
  end(): void;
  /** What came before the error is still read first. */
  fail(error: unknown): void;
}

// Enough to keep a fast link busy while the consumer writes a batch, small beside what transfers may hold.
const highWater = 256 * 1024;
const lowWater = 64 * 1024;
// HTTP lets a sender cut a body into chunks of single bytes, each of which takes about this much memory.
const leastCost = 256;
const costOf = (chunk: Uint8Array) => Math.max(chunk.byteLength, leastCost);

type Waiter = {
  resolve(result: IteratorResult<Uint8Array, undefined>): void;
  reject(error: unknown): void;
  startTimer(): void;
  cancelTimer(): void;
};

/** Takes a share of what all bodies of an upstream may bring; `goOn` is called when one that was held up may go on. */
export type JoinThrottle = (goOn: () => void) => ThrottleShare;

/**
 * Makes a body with back-pressure. The idle timeout runs only while the consumer waits for bytes that may come: whoever
 * reads slowly, or may not read on, is not the upstream's fault. Tiny chunks that wait are given as one.
 */
export function createResponseBody(
  source: BodySource,
  idle: { clock: Clock; ms: number; error: () => Error },
  join?: JoinThrottle,
): ResponseBody {
  const queue: Uint8Array[] = [];
  let queued = 0;
  let paused = false;
  let state: 'open' | 'ended' | 'failed' | 'closed' = 'open';
  let failure: unknown;
  let waiter: Waiter | undefined;
  let isHeldUp = false;
  const share = join?.(() => {
    isHeldUp = false;
    if (state !== 'open') return;
    waiter?.startTimer();
    if (!paused) source.resume();
  });

  function settle(act: (waiter: Waiter) => void): boolean {
    const waiting = waiter;
    if (!waiting) return false;
    waiter = undefined;
    waiting.cancelTimer();
    act(waiting);
    return true;
  }

  function close(): void {
    const wasOpen = state === 'open';
    share?.leave();
    if (state !== 'failed' || queue.length > 0) state = 'closed';
    for (const chunk of queue.splice(0)) source.unread(chunk);
    queued = 0;
    settle((waiting) => waiting.resolve({ done: true, value: undefined }));
    if (wasOpen) source.abandon();
  }

  function fail(error: unknown): void {
    if (state !== 'open') return;
    state = 'failed';
    failure = error;
    share?.leave();
    settle((waiting) => waiting.reject(error));
  }

  function take(): Uint8Array | undefined {
    const [first] = queue;
    if (!first) return undefined;
    const taken = queue.splice(0, first.byteLength < leastCost ? tinyOnes() : 1);
    const chunk = taken.length === 1 ? first : Buffer.concat(taken);
    for (const one of taken) queued -= costOf(one);
    if (paused && queued <= lowWater) {
      paused = false;
      if (!isHeldUp) source.resume();
    }
    return chunk;
  }

  /** How many tiny chunks the queue begins with. */
  function tinyOnes(): number {
    const end = queue.findIndex((chunk) => chunk.byteLength >= leastCost);
    return end < 0 ? queue.length : end;
  }

  function wait(): Promise<IteratorResult<Uint8Array, undefined>> {
    return new Promise((resolve, reject) => {
      let cancel = () => {};
      const startTimer = () => {
        cancel = idle.clock.after(idle.ms, () => {
          fail(idle.error());
          source.abandon();
        });
      };
      waiter = { resolve, reject, startTimer, cancelTimer: () => cancel() };
      if (!isHeldUp) startTimer();
    });
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    next() {
      const chunk = take();
      if (chunk) return Promise.resolve({ done: false, value: chunk });
      if (state === 'open') return wait();
      if (state !== 'failed') return Promise.resolve({ done: true, value: undefined });
      state = 'closed';
      return Promise.reject(failure);
    },
    return() {
      close();
      return Promise.resolve({ done: true, value: undefined });
    },
  };

  return {
    bytes: { [Symbol.asyncIterator]: () => iterator },
    push(chunk) {
      if (state !== 'open' || chunk.byteLength === 0) return source.unread(chunk);
      if (share && !share.took(chunk.byteLength)) {
        isHeldUp = true;
        source.pause();
      }
      if (settle((waiting) => waiting.resolve({ done: false, value: chunk }))) return;
      queue.push(chunk);
      queued += costOf(chunk);
      if (!paused && queued >= highWater) {
        paused = true;
        source.pause();
      }
    },
    end() {
      if (state !== 'open') return;
      state = 'ended';
      share?.leave();
      settle((waiting) => waiting.resolve({ done: true, value: undefined }));
    },
    fail,
  };
}
