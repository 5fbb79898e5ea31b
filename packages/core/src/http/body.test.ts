import { describe, expect, it } from 'vitest';
import type { Bytes } from '../runtime/bytes.ts';
import { bodyOf, createBody } from './body.ts';

/** A source that tells what was done to it. */
function source(chunks: readonly (string | Error)[], length?: number) {
  const told: string[] = [];
  async function* read(): AsyncGenerator<Uint8Array> {
    told.push('open');
    try {
      for (const chunk of chunks) {
        if (chunk instanceof Error) throw chunk;
        yield Buffer.from(chunk);
      }
    } finally {
      told.push('return');
    }
  }
  const close = async () => {
    told.push('close');
  };
  return { told, body: createBody({ open: read, length, close }) };
}

async function text(body: Bytes): Promise<string> {
  let all = '';
  for await (const chunk of body) all += Buffer.from(chunk).toString();
  return all;
}

describe('createBody', () => {
  it('gives the chunks and closes the source at their end', async () => {
    const { told, body } = source(['ab', 'c'], 3);
    expect(await text(body)).toBe('abc');
    expect(told).toEqual(['open', 'return', 'close']);
  });

  it('closes the source when the reader stops early', async () => {
    const { told, body } = source(['ab', 'c'], 3);
    for await (const _ of body) break;
    expect(told).toEqual(['open', 'return', 'close']);
  });

  it('closes the source when the reader returns before the first chunk, without opening it', async () => {
    const { told, body } = source(['ab', 'c'], 3);
    const iterator = body[Symbol.asyncIterator]();
    await iterator.return?.();
    expect(told).toEqual(['close']);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    await iterator.return?.();
    expect(told).toEqual(['close']);
  });

  it('closes the source when it fails, and passes the failure on', async () => {
    const { told, body } = source(['ab', new Error('disk gone')], 3);
    await expect(text(body)).rejects.toThrow('disk gone');
    expect(told).toEqual(['open', 'return', 'close']);
  });

  it('fails when fewer bytes come than were announced, so that nobody takes them for the whole', async () => {
    const { told, body } = source(['ab'], 3);
    await expect(text(body)).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringContaining('2 of 3'),
    });
    expect(told).toContain('close');
  });

  it('fails before it gives more bytes than were announced', async () => {
    const { told, body } = source(['ab', 'cd'], 3);
    const got: string[] = [];
    const reading = (async () => {
      for await (const chunk of body) got.push(Buffer.from(chunk).toString());
    })();
    await expect(reading).rejects.toMatchObject({ code: 'storage-failed' });
    expect(got).toEqual(['ab']);
    expect(told).toEqual(['open', 'return', 'close']);
  });

  it('gives what comes when no length was announced', async () => {
    expect(await text(source(['ab', 'cd']).body)).toBe('abcd');
  });

  it('does not fail a complete body whose source would not close', async () => {
    async function* read(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('abc');
    }
    const close = () => Promise.reject(new Error('cannot close'));
    expect(await text(createBody({ open: read, length: 3, close }))).toBe('abc');
  });
});

describe('who wants to know when a body is over', () => {
  const over = (length: number | undefined, chunks: readonly string[]) => {
    const told: [number, boolean][] = [];
    async function* open() {
      for (const chunk of chunks) yield Buffer.from(chunk);
    }
    const body = createBody({ open, length, close: async () => undefined, over: (...how) => told.push(how) });
    return { told, iterator: body[Symbol.asyncIterator]() };
  };

  it('is told once, of all that was read', async () => {
    const { told, iterator } = over(4, ['ab', 'cd']);
    while (!(await iterator.next()).done);
    await iterator.return?.();
    expect(told).toEqual([[4, true]]);
  });

  it('was told twice of a reader who left while the next chunk was waited for', async () => {
    const told: [number, boolean][] = [];
    let closed = 0;
    let end = (_: IteratorResult<Uint8Array>) => {};
    const waiting: AsyncIterator<Uint8Array> = {
      next: () => new Promise((resolve) => (end = resolve)),
      async return() {
        const result = { done: true as const, value: undefined };
        end(result);
        return result;
      },
    };
    const body = createBody({
      open: () => ({ [Symbol.asyncIterator]: () => waiting }),
      length: 4,
      close: async () => void closed++,
      over: (...how) => told.push(how),
    });
    const iterator = body[Symbol.asyncIterator]();
    const next = iterator.next();
    await iterator.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
    expect([told, closed]).toEqual([[[0, false]], 1]);
  });

  it('is told that it is whole where its reader wants no more than was announced', async () => {
    const { told, iterator } = over(2, ['ab']);
    await iterator.next();
    await iterator.return?.();
    expect(told).toEqual([[2, true]]);
  });

  it('is told that it is not where it ends early or its reader leaves', async () => {
    const short = over(5, ['ab']);
    await short.iterator.next();
    await expect(short.iterator.next()).rejects.toThrow('ended after 2 of 5');
    const left = over(4, ['ab', 'cd']);
    await left.iterator.next();
    await left.iterator.return?.();
    expect([...short.told, ...left.told]).toEqual([
      [2, false],
      [2, false],
    ]);
  });
});

describe('bodyOf', () => {
  function piece(close: () => Promise<void> = async () => undefined) {
    const told: string[] = [];
    const over: [number, boolean][] = [];
    const body = bodyOf(Buffer.from('abc'), {
      async close() {
        told.push('close');
        await close();
      },
      over: (bytes, complete) => over.push([bytes, complete]),
    });
    return { told, over, body };
  }

  it('gives its one chunk, and closes when the next is asked for, not before', async () => {
    const { told, over, body } = piece();
    const iterator = body[Symbol.asyncIterator]();
    expect(await iterator.next()).toEqual({ done: false, value: Buffer.from('abc') });
    expect(told).toEqual([]);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    await iterator.return?.();
    expect(told).toEqual(['close']);
    expect(over).toEqual([[3, true]]);
  });

  it('closes when the reader returns, before its chunk or after, and gives nothing from then on', async () => {
    for (const isTaken of [false, true]) {
      const { told, body } = piece();
      const iterator = body[Symbol.asyncIterator]();
      if (isTaken) await iterator.next();
      await iterator.return?.();
      expect(await iterator.next()).toEqual({ done: true, value: undefined });
      expect(told).toEqual(['close']);
    }
  });

  it('is taken as a whole once, in place of being iterated, and closes when its taker has done with it', async () => {
    for (const complete of [true, false]) {
      const { told, over, body } = piece();
      const taken = body.takeWhole();
      expect([Buffer.from(taken.bytes).toString(), told]).toEqual(['abc', []]);
      expect(() => body.takeWhole()).toThrow('read twice');
      taken.over(complete);
      taken.over(true);
      expect(await body[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
      expect([told, over]).toEqual([['close'], [[3, complete]]]);
    }
    const { body } = piece();
    await body[Symbol.asyncIterator]().next();
    expect(() => body.takeWhole()).toThrow('read twice');
  });

  it('is told to be cut off where it is closed while its taker has it', async () => {
    const { over, body } = piece();
    body.takeWhole();
    await body[Symbol.asyncIterator]().return?.();
    expect(over).toEqual([[3, false]]);
  });

  it('ends in good order where it cannot be closed', async () => {
    const { body } = piece(() => Promise.reject(new Error('will not close')));
    expect(await text(body)).toBe('abc');
  });
});
