import { describe, expect, it } from 'vitest';
import { createBuffers } from './buffers.ts';
import { createDeferred } from './deferred.ts';
import { lendBuffer } from './lent-buffer.ts';

const one = 256 * 1024;

describe('a lent buffer', () => {
  it('gives what a read brought, at most the length asked for', async () => {
    const lent = lendBuffer(createBuffers(one));
    const asked: number[] = [];
    const bytes = await lent.fill(10, async (into) => {
      asked.push(into.byteLength);
      into.fill(7, 0, 4);
      return 4;
    });
    expect([...bytes]).toEqual([7, 7, 7, 7]);
    await lent.fill(10 * one, async (into) => {
      asked.push(into.byteLength);
      return 0;
    });
    expect(asked).toEqual([10, one]);
    await lent.giveBack();
  });

  it('goes back to the pool once, and only when a read under way has landed', async () => {
    const buffers = createBuffers(one);
    const lent = lendBuffer(buffers);
    const landing = createDeferred<number>();
    const reading = lent.fill(1, () => landing.promise);
    const back = lent.giveBack();
    expect(buffers.take().byteLength, 'while it is read into').toBeLessThan(one);
    landing.resolve(1);
    await Promise.all([reading, back]);
    await lent.giveBack();
    expect(buffers.take().byteLength).toBe(one);
    expect(buffers.take().byteLength).toBeLessThan(one);
  });

  it('never hands memory on that a failed read may still write to', async () => {
    const buffers = createBuffers(one);
    const lent = lendBuffer(buffers);
    let late: Uint8Array | undefined;
    const reading = lent.fill(1, async (into) => {
      late = into;
      throw new Error('too late');
    });
    await expect(reading).rejects.toThrow('too late');
    await lent.giveBack();
    expect(buffers.take().buffer).not.toBe(late?.buffer);
  });
});
