import type { Bytes } from '@proxycache/core';

/** A body that a test feeds by hand. */
export interface Feed {
  bytes: Bytes;
  push(...chunks: Uint8Array[]): void;
  end(): void;
  fail(error: Error): void;
  /** How many chunks were taken. */
  readonly taken: number;
  /** Whether it was returned from before its end. */
  readonly closed: boolean;
}

type Step = { done: false; value: Uint8Array } | { done: true } | { error: Error };

/** Makes a body that is fed by hand; `chunks` are there from the start. */
export function feed(...chunks: Uint8Array[]): Feed {
  const steps: Step[] = chunks.map((value) => ({ done: false, value }));
  let wake = (): void => undefined;
  let taken = 0;
  let closed = false;

  function add(step: Step): void {
    steps.push(step);
    wake();
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      for (;;) {
        const step = closed ? { done: true as const } : steps.shift();
        if (step && 'error' in step) throw step.error;
        if (step?.done) return { done: true, value: undefined };
        if (step) {
          taken++;
          return step;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async return() {
      closed = true;
      wake();
      return { done: true, value: undefined };
    },
  };
  return {
    bytes: { [Symbol.asyncIterator]: () => iterator },
    push(...more) {
      for (const value of more) add({ done: false, value });
    },
    end: () => add({ done: true }),
    fail: (error) => add({ error }),
    get taken() {
      return taken;
    },
    get closed() {
      return closed;
    },
  };
}
