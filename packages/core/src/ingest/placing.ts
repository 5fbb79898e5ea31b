import { writev } from 'node:fs';
import { createSpans, type Spans } from './spans.ts';

/** What is written to a file ahead of its beginning, by others than those who fill it from there. */
export interface Placing {
  /** What is there. */
  readonly spans: Spans;
  /** Whether something is being written. */
  readonly isBusy: boolean;
  /** Writes chunks one after the other. Rejects when they could not be written. */
  place(chunks: readonly Uint8Array[], position: number): Promise<void>;
}

/** @param done called whenever nothing is being written any more */
export function createPlacing(fd: number, done: () => void): Placing {
  const spans = createSpans();
  let writing = 0;

  function write(chunks: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      writev(fd, [...chunks], position, (error, count) => (error ? reject(error) : resolve(count)));
    });
  }

  return {
    spans,
    get isBusy() {
      return writing > 0;
    },
    async place(chunks, position) {
      let at = position;
      // To the end of all of it: between two writes the file must not be closed, and its number be another's.
      writing++;
      try {
        for (let rest = chunks; rest.length > 0; ) {
          const count = await write(rest, at);
          rest = withoutFirst(rest, count);
          spans.add({ from: at, end: at + count });
          at += count;
        }
      } finally {
        writing--;
        if (writing === 0) done();
      }
    },
  };
}

/** The chunks without their first `count` bytes. */
function withoutFirst(chunks: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skipped = 0;
  for (const chunk of chunks) {
    if (skipped + chunk.byteLength > count) rest.push(chunk.subarray(Math.max(count - skipped, 0)));
    skipped += chunk.byteLength;
  }
  return rest;
}
