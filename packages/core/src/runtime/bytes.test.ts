import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Bytes, bytesOf, collect, discard } from './bytes.ts';

/** Chunks that share one piece of memory, as a pooled reader's do. */
async function* pooled(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  const memory = new Uint8Array(Math.max(0, ...chunks.map((chunk) => chunk.byteLength)));
  for (const chunk of chunks) {
    memory.set(chunk);
    yield memory.subarray(0, chunk.byteLength);
  }
  memory.fill(0);
}

function watched(): { body: Bytes; told: string[] } {
  const told: string[] = [];
  const body: Bytes = {
    [Symbol.asyncIterator]: () => ({
      async next() {
        told.push('next');
        return { done: false, value: new Uint8Array(10) };
      },
      async return() {
        told.push('return');
        return { done: true, value: undefined };
      },
    }),
  };
  return { body, told };
}

describe('collect', () => {
  it('gives all bytes, whatever the chunks, although their memory is used again; or nothing over the limit', async () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(chunks, fc.nat({ max: 100 }), async (parts, limit) => {
        const whole = Buffer.concat(parts);
        const got = await collect(pooled(parts), limit);
        if (whole.byteLength > limit) expect(got).toBeUndefined();
        else expect(Buffer.from(got!)).toEqual(whole);
      }),
    );
  });

  it('closes the source as soon as the limit is passed', async () => {
    const { body, told } = watched();
    expect(await collect(body, 15)).toBeUndefined();
    expect(told).toEqual(['next', 'next', 'return']);
  });

  it('passes on why a body failed', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1);
      throw new Error('cut off');
    }
    await expect(collect(failing(), 10)).rejects.toThrow('cut off');
  });
});

describe('bytesOf', () => {
  it('gives one chunk, and none for no bytes', async () => {
    const chunks = async (bytes: Uint8Array) => {
      const all: Uint8Array[] = [];
      for await (const chunk of bytesOf(bytes)) all.push(chunk);
      return all;
    };
    expect(await chunks(Buffer.from('abc'))).toEqual([Buffer.from('abc')]);
    expect(await chunks(new Uint8Array())).toEqual([]);
  });
});

describe('discard', () => {
  it('closes a body that was never read', async () => {
    const { body, told } = watched();
    await discard(body);
    expect(told).toEqual(['return']);
  });

  it('never throws', async () => {
    await discard({
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(new Error('next')),
        return: () => Promise.reject(new Error('return')),
      }),
    });
    await discard({
      [Symbol.asyncIterator]: () => {
        throw new Error('used already');
      },
    });
    await discard({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('next')) }) });
  });
});
