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
    await expect(lent.fill(1, async () => 1)).rejects.toThrow('given back');
    expect(buffers.take().byteLength).toBe(one);
    expect(buffers.take().byteLength).toBeLessThan(one);
  });

  it('gave a later read the memory of one that had failed and could still land in it', async () => {
    const lent = lendBuffer(createBuffers(2 * one));
    let late: Uint8Array = new Uint8Array();
    await expect(
      lent.fill(4, async (into) => {
        late = into;
        throw new Error('too late');
      }),
    ).rejects.toThrow('too late');
    const bytes = await lent.fill(4, async (into) => {
      into.fill(7);
      return 4;
    });
    late.fill(9);
    expect([...bytes]).toEqual([7, 7, 7, 7]);
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
