import { expect, it } from 'vitest';
import type { Bytes } from './bytes.ts';
import { copied } from './copied-bytes.ts';

/** Chunks that share one piece of memory, as a pooled reader's do. */
function pooled(...texts: string[]) {
  const memory = Buffer.alloc(10);
  const told: string[] = [];
  let index = 0;
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      const text = texts[index++];
      memory.fill(0);
      if (text === undefined) return { done: true, value: undefined };
      if (text === 'fails') throw new Error('the disk broke');
      memory.write(text);
      return { done: false, value: memory.subarray(0, text.length) };
    },
    async return() {
      told.push('return');
      return { done: true, value: undefined };
    },
  };
  const body: Bytes = { [Symbol.asyncIterator]: () => iterator };
  return { body, told };
}

function copying(body: Bytes, length: number) {
  const copies: Uint8Array[] = [];
  const given = () => copies.map((copy) => Buffer.from(copy).toString());
  return { body: copied(body, length, (copy) => copies.push(copy)), given };
}

async function read(body: Bytes): Promise<string> {
  let text = '';
  for await (const chunk of body) text += Buffer.from(chunk);
  return text;
}

it('passes all on, and gives a copy of it away that is nobody else’s', async () => {
  const { body, given } = copying(pooled('ab', '', 'cd').body, 4);
  expect([await read(body), given()]).toEqual(['abcd', ['abcd']]);
});

it.each([3, 5, 0])('gives none of a body that was to have %i bytes and has 4', async (length) => {
  const { body, given } = copying(pooled('ab', 'cd').body, length);
  expect([await read(body), given()]).toEqual(['abcd', []]);
});

it('gives none of a body that fails, or is left: before its first chunk, and after its last', async () => {
  const failing = copying(pooled('ab', 'fails').body, 4);
  await expect(read(failing.body)).rejects.toThrow('the disk broke');
  expect(failing.given()).toEqual([]);
  for (const chunks of [0, 1, 2]) {
    const { body: source, told } = pooled('ab', 'cd');
    const { body, given } = copying(source, 4);
    const iterator = body[Symbol.asyncIterator]();
    for (let i = 0; i < chunks; i++) await iterator.next();
    await iterator.return?.();
    expect([given(), told]).toEqual([[], ['return']]);
  }
});
