import { expect, it } from 'vitest';
import { createDeferred } from './deferred.ts';
import { takenBytes } from './taken-bytes.ts';

/** A body of these chunks; an error among them is what taking then fails with. */
function taken(chunks: (Uint8Array | Error)[]) {
  const left = new AbortController();
  let closed = 0;
  const bytes = takenBytes(
    async () => {
      const next = chunks.shift();
      if (next instanceof Error) throw next;
      return next;
    },
    { left, close: async () => closed++ },
  );
  return { iterator: bytes[Symbol.asyncIterator](), left, closed: () => closed };
}

const chunk = Buffer.from('a');

it('gives what is taken, and is closed once before its end is told', async () => {
  const { iterator, closed } = taken([chunk]);
  expect(await iterator.next()).toEqual({ done: false, value: chunk });
  expect(closed()).toBe(0);
  expect((await iterator.next()).done).toBe(true);
  expect((await iterator.next()).done).toBe(true);
  await iterator.return?.();
  expect(closed()).toBe(1);
});

it('fails with what taking failed with, and is closed by then', async () => {
  const { iterator, closed } = taken([new Error('broke')]);
  await expect(iterator.next()).rejects.toThrow('broke');
  expect(closed()).toBe(1);
  expect((await iterator.next()).done).toBe(true);
});

it('is closed also by whoever leaves before the first chunk', async () => {
  const { iterator, closed } = taken([chunk]);
  await iterator.return?.();
  expect(closed()).toBe(1);
  expect((await iterator.next()).done).toBe(true);
});

it('tells whoever left while a chunk was taken of no failure', async () => {
  const left = new AbortController();
  const pending = createDeferred<undefined>();
  const iterator = takenBytes(() => pending.promise, { left, close: async () => undefined })[Symbol.asyncIterator]();
  const next = iterator.next();
  await iterator.return?.();
  pending.reject(new Error('its file was closed'));
  expect((await next).done).toBe(true);
});
