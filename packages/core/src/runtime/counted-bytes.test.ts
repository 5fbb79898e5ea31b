import { describe, expect, it } from 'vitest';
import { type Bytes, bytesOf, isWhole, type WholeBytes } from './bytes.ts';
import { countedBytes } from './counted-bytes.ts';

function counted(body: Bytes, announced?: number) {
  const told: [number, boolean][] = [];
  const bytes = countedBytes(body, announced, (...about) => told.push(about));
  return { bytes, told };
}

function whole() {
  const overs: boolean[] = [];
  const body: WholeBytes = {
    ...{ [Symbol.asyncIterator]: () => bytesOf(Buffer.from('abc'))[Symbol.asyncIterator]() },
    takeWhole: () => ({ bytes: Buffer.from('abc'), over: (complete) => void overs.push(complete) }),
  };
  return { body, overs };
}

describe('countedBytes', () => {
  it('tells how much was read, and whether that is all, once', async () => {
    for (const [announced, isAll] of [
      [3, true],
      [4, false],
      [undefined, false],
    ] as const) {
      const { bytes, told } = counted(bytesOf(Buffer.from('abc')), announced);
      const iterator = bytes[Symbol.asyncIterator]();
      await iterator.next();
      await iterator.return?.();
      await iterator.return?.();
      expect(told).toEqual([[3, isAll]]);
    }
  });

  it('leaves a body that can be had as a whole so, and tells when it was sent, or not', async () => {
    for (const complete of [true, false]) {
      const { body, overs } = whole();
      const { bytes, told } = counted(body, 3);
      if (!isWhole(bytes)) throw new Error('it cannot be had as a whole any more');
      const taken = bytes.takeWhole();
      expect([Buffer.from(taken.bytes).toString(), told]).toEqual(['abc', []]);
      taken.over(complete);
      taken.over(true);
      expect([told, overs[0]]).toEqual([[[3, complete]], complete]);
    }
    const cut = counted(whole().body, 3);
    if (isWhole(cut.bytes)) cut.bytes.takeWhole();
    await cut.bytes[Symbol.asyncIterator]().return?.();
    expect(cut.told).toEqual([[3, false]]);
    const { bytes, told } = counted(whole().body, 3);
    for await (const chunk of bytes) expect(Buffer.from(chunk).toString()).toBe('abc');
    expect(told).toEqual([[3, true]]);
  });
});
