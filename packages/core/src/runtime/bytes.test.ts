import { feed } from '@proxycache/test-kit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Bytes, begun, bytesOf, collect, discard, resumed } from './bytes.ts';

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

const textOf = async (bytes: Bytes) => Buffer.from((await collect(bytes, 10))!).toString();

describe('begun', () => {
  it('is the same body, once its first chunk is here', async () => {
    const body = feed(Buffer.from('ab'));
    const ready = await begun(body.bytes);
    body.push(Buffer.from('c'));
    body.end();
    expect(await textOf(ready)).toBe('abc');
    const empty = feed();
    empty.end();
    expect(await collect(await begun(empty.bytes), 10)).toHaveLength(0);
  });

  it('fails before anything is read, where the body fails at once', async () => {
    const body = feed();
    body.fail(new Error('refused'));
    await expect(begun(body.bytes)).rejects.toThrow('refused');
  });

  it('closes the source when it is discarded', async () => {
    const body = feed(Buffer.from('ab'));
    await discard(await begun(body.bytes));
    expect(body.closed).toBe(true);
  });
});

describe('resumed', () => {
  const rest = (text: string) => (delivered: number) => Promise.resolve(bytesOf(Buffer.from(text.slice(delivered))));

  it('goes on elsewhere, from where the source failed or ended early', async () => {
    for (const fail of [true, false]) {
      const body = feed(Buffer.from('ab'));
      if (fail) body.fail(new Error('lost'));
      else body.end();
      expect(await textOf(resumed(body.bytes, 5, rest('abcde')))).toBe('abcde');
    }
  });

  it('asks for nothing more where all was delivered', async () => {
    const body = feed(Buffer.from('ab'));
    body.fail(new Error('cannot be closed'));
    const never = () => Promise.reject(new Error('asked'));
    expect(await textOf(resumed(body.bytes, 2, never))).toBe('ab');
  });

  it('fails with the second failure: once is enough', async () => {
    const body = feed(Buffer.from('ab'));
    body.fail(new Error('lost'));
    await expect(collect(resumed(body.bytes, 5, rest('abc')), 10)).rejects.toThrow('content ended after 3 of 5 bytes');
    const other = feed();
    other.fail(new Error('lost'));
    const nowhere = resumed(other.bytes, 5, () => Promise.reject(new Error('nowhere else')));
    await expect(collect(nowhere, 10)).rejects.toThrow('nowhere else');
  });

  it('closes what it goes on with when it was left meanwhile', async () => {
    const body = feed();
    body.fail(new Error('lost'));
    const second = feed(Buffer.from('abcde'));
    let go = (_: Bytes): void => undefined;
    const iterator = resumed(body.bytes, 5, () => new Promise((resolve) => (go = resolve)))[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await new Promise((resolve) => setImmediate(resolve));
    await iterator.return?.();
    go(second.bytes);
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(second.closed).toBe(true);
  });
});
