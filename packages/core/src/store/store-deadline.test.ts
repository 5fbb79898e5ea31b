import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { flakyStore, manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { systemClock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { OpenBlob } from './blob-store.ts';
import { memoryStorage } from './memory-storage.ts';
import { createStoreDeadline } from './store-deadline.ts';
import { timelyStorage } from './timely-storage.ts';

const { signal } = new AbortController();
const bytes = Buffer.from('content');
const digest = digestOf(bytes);
const never = () => new Promise<never>(() => undefined);

describe('createStoreDeadline', () => {
  it('gives the outcome of a call in time, and leaves no timer behind', async () => {
    const clock = manualClock();
    const deadline = createStoreDeadline(clock, 100);
    expect(await deadline.run({ operation: 'get', signal }, async () => 1)).toBe(1);
    await expect(
      deadline.run({ operation: 'get' }, () => {
        throw new Error('broken');
      }),
    ).rejects.toThrow('broken');
    expect(clock.pending()).toBe(0);
  });

  it('tells of any failure of a store as one, with its cause, and of a full disk as that', async () => {
    const deadline = createStoreDeadline(manualClock(), 100);
    const own = new ProxyCacheError('storage-damaged', 'half a record');
    for (const [thrown, expected] of [
      [new Error('bad sector'), { code: 'storage-failed', message: 'could not read: bad sector' }],
      ['bad sector', { code: 'storage-failed', message: 'could not read: bad sector' }],
      [Object.assign(new Error('no space'), { code: 'ENOSPC' }), { code: 'storage-full' }],
    ] as const) {
      await expect(deadline.run({ operation: 'read' }, () => Promise.reject(thrown))).rejects.toMatchObject({
        ...expected,
        cause: thrown,
      });
    }
    await expect(deadline.run({ operation: 'read' }, () => Promise.reject(own))).rejects.toBe(own);
  });

  it('fails a call that takes too long, and tells the store by its signal', async () => {
    const clock = manualClock();
    const deadline = createStoreDeadline(clock, 100);
    let told: AbortSignal | undefined;
    const waiting = deadline.run({ operation: 'get' }, ({ signal }) => {
      told = signal;
      return never();
    });
    await clock.advance(99);
    expect(told?.aborted).toBe(false);
    const failing = expect(waiting).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringMatching(/"get" within 100 ms/),
    });
    await clock.advance(1);
    await failing;
    expect(told?.aborted).toBe(true);
  });

  it('ends with its caller, whether the store heeds that or not', async () => {
    const clock = manualClock();
    const deadline = createStoreDeadline(clock, 100);
    const caller = new AbortController();
    const waiting = deadline.run({ operation: 'get', signal: caller.signal }, never);
    caller.abort(new Error('the client left'));
    await expect(waiting).rejects.toThrow('the client left');
    await expect(deadline.run({ operation: 'get', signal: caller.signal }, never)).rejects.toThrow('the client left');
    expect(clock.pending()).toBe(0);
    // It was not the store that failed.
    expect(await deadline.run({ operation: 'get' }, async () => 1)).toBe(1);
  });

  it('leaves an operation alone that took too long three times in a row, then lets one caller try', async () => {
    const clock = manualClock();
    const deadline = createStoreDeadline(clock, 100);
    let calls = 0;
    const call = (work: () => Promise<unknown>) =>
      deadline.run({ operation: 'get' }, () => {
        calls++;
        return work();
      });
    for (let miss = 1; miss <= 3; miss++) {
      const hanging = expect(call(never)).rejects.toThrow('within 100 ms');
      await clock.advance(100);
      await hanging;
    }
    await expect(call(never)).rejects.toMatchObject({
      code: 'storage-failed',
      message: expect.stringMatching(/left alone/),
    });
    expect(calls).toBe(3);
    expect(await deadline.run({ operation: 'set' }, async () => 'others go on')).toBe('others go on');

    await clock.advance(10_000);
    const probe = expect(call(never)).rejects.toThrow('within 100 ms');
    await clock.advance(0);
    await expect(call(never)).rejects.toThrow('left alone');
    expect(calls).toBe(4);
    await clock.advance(100);
    await probe;
    await expect(call(never)).rejects.toThrow('left alone');
    await clock.advance(10_000);
    expect(await call(async () => 'back')).toBe('back');
    expect(await call(async () => 'back')).toBe('back');
  });

  it('does not leave an operation alone that answers now and then', async () => {
    const clock = manualClock();
    const deadline = createStoreDeadline(clock, 100);
    for (let i = 0; i < 4; i++) {
      for (let miss = 1; miss <= 2; miss++) {
        const hanging = expect(deadline.run({ operation: 'get' }, never)).rejects.toThrow('within 100 ms');
        await clock.advance(100);
        await hanging;
      }
      expect(await deadline.run({ operation: 'get' }, async () => 'here')).toBe('here');
    }
  });

  describe('where several operations take too long', () => {
    function start() {
      const clock = manualClock();
      const deadline = createStoreDeadline(clock, 100);
      const answers = (operation: string) => deadline.run({ operation }, async () => 'here');
      const misses = async (operation: string) => {
        const hanging = expect(deadline.run({ operation }, never)).rejects.toThrow('within 100 ms');
        await clock.advance(100);
        await hanging;
      };
      const isLeftAlone = (operation: string) => expect(answers(operation)).rejects.toThrow('left alone');
      return { clock, answers, misses, isLeftAlone };
    }

    it('one slow call had the store left alone, because others had taken too long before the store answered again', async () => {
      const { answers, misses } = start();
      await misses('delete');
      await answers('open');
      await misses('put');
      for (let i = 0; i < 3; i++) {
        await answers('open');
        await misses('open');
        expect(await answers('open')).toBe('here');
      }
      for (const operation of ['delete', 'put']) expect(await answers(operation)).toBe('here');
    });

    it('three in a row of whatever operation have those left alone that were among them', async () => {
      const { answers, misses, isLeftAlone } = start();
      await misses('list');
      await answers('get');
      for (const operation of ['get', 'set', 'delete']) await misses(operation);
      for (const operation of ['get', 'set', 'delete']) await isLeftAlone(operation);
      expect(await answers('list')).toBe('here');
    });

    it('reads that hang are left alone also while writes answer, and again when one caller has tried in vain', async () => {
      const { clock, answers, misses, isLeftAlone } = start();
      for (let miss = 1; miss <= 3; miss++) {
        await misses('get');
        expect(await answers('set')).toBe('here');
      }
      for (let rest = 0; rest < 3; rest++) {
        await isLeftAlone('get');
        expect(await answers('set')).toBe('here');
        await clock.advance(10_000);
        await misses('get');
      }
      await clock.advance(10_000);
      for (let i = 0; i < 3; i++) expect(await answers('get')).toBe('here');
    });

    it('one that was left alone with others stays so when it is tried in vain, whatever answers meanwhile', async () => {
      const { clock, answers, misses, isLeftAlone } = start();
      for (const operation of ['get', 'set', 'delete']) await misses(operation);
      await clock.advance(10_000);
      expect(await answers('set')).toBe('here');
      await misses('get');
      await isLeftAlone('get');
      expect(await answers('set')).toBe('here');
    });
  });

  it('counts no time in which this process itself stood still', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'store-deadline-'));
    const deadline = createStoreDeadline(systemClock, 100);
    const writes = Array.from({ length: 8 }, (_, at) =>
      deadline.run({ operation: 'put' }, () => writeFile(join(folder, String(at)), bytes)),
    );
    await Promise.resolve();
    // Blocks the event loop, as a host that computes does; a process that was stopped sees the same.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
    await Promise.all(writes);
    rmSync(folder, { recursive: true });
  });

  it('lets go of an outcome that comes too late', async () => {
    const clock = manualClock();
    const deadline = createStoreDeadline(clock, 100);
    const late: string[] = [];
    let answer = (_: string): void => undefined;
    const waiting = deadline.run({ operation: 'open', late: (value: string) => late.push(value) }, () => {
      return new Promise<string>((resolve) => (answer = resolve));
    });
    const failing = expect(waiting).rejects.toThrow('within 100 ms');
    await clock.advance(100);
    await failing;
    answer('a handle');
    await clock.advance(0);
    expect(late).toEqual(['a handle']);
  });
});

describe('timelyStorage', () => {
  async function start() {
    const clock = manualClock();
    const flaky = flakyStore(memoryStorage({ clock }));
    const { blobs, metadata } = timelyStorage(flaky, clock);
    await blobs.put({ digest, bytes, signal });
    await metadata.set('a', '1', { signal });
    const inTime = async (call: () => Promise<unknown>, withinMs = 3_000) => {
      const failing = expect(call()).rejects.toMatchObject({ code: 'storage-failed' });
      await clock.advance(withinMs);
      await failing;
    };
    return { clock, flaky, blobs, metadata, inTime };
  }

  it.each(['blobs.open', 'blobs.put', 'blobs.delete'] as const)(
    'bounds %s of a store that hangs',
    async (operation) => {
      const { flaky, blobs, inTime } = await start();
      flaky.on(operation, { hang: 'deaf' });
      await inTime(() =>
        operation === 'blobs.open'
          ? blobs.open(digest, { signal })
          : operation === 'blobs.put'
            ? blobs.put({ digest, bytes, signal })
            : blobs.delete(digest, { signal }),
      );
    },
  );

  it.each(['get', 'getMany', 'set', 'delete', 'list'] as const)(
    'bounds metadata.%s of a store that hangs',
    async (name) => {
      const { flaky, metadata, inTime } = await start();
      flaky.on(`metadata.${name}`, { hang: 'deaf' });
      const calls = {
        get: () => metadata.get('a', { signal }),
        getMany: () => metadata.getMany(['a'], { signal }),
        set: () => metadata.set('a', '2', { signal }),
        delete: () => metadata.delete('a', { signal }),
        list: () => metadata.list('', { limit: 1, signal }),
      };
      // A list's first page may take a look at all there is.
      await inTime(calls[name], name === 'list' ? 15_000 : 3_000);
    },
  );

  it('bounds the reads of an open blob, each for itself', async () => {
    const { flaky, blobs, inTime } = await start();
    const blob = (await blobs.open(digest, { signal })) as Extract<OpenBlob, { kind: 'file' }>;
    const into = new Uint8Array(100);
    flaky.on('blobs.read', { hang: 'deaf', times: 1 });
    await inTime(() => blob.read(into, 0));
    expect(await blob.read(into, 0)).toBe(bytes.byteLength);
    await blob.close();
    expect(flaky.openBlobs()).toBe(0);
  });

  it('closes a blob that was opened too late', async () => {
    const { flaky, blobs, inTime, clock } = await start();
    flaky.on('blobs.open', { hang: 'deaf' });
    await inTime(() => blobs.open(digest, { signal }));
    flaky.heal();
    await expect.poll(() => clock.advance(0).then(() => flaky.openBlobs())).toBe(0);
    expect(flaky.calls('blobs.open')).toBe(1);
  });

  it('gives an upload the time that its size takes', async () => {
    const { flaky, blobs, clock } = await start();
    flaky.on('blobs.adopt', { hang: 'deaf' });
    const size = 100 * 1024 * 1024;
    let over = false;
    const adopting = blobs.adopt({ file: '/nowhere', digest, size, signal }).catch((error) => {
      over = true;
      return error;
    });
    // At 32 KiB/s: one that is given up begins anew, and never ends over a slow way.
    await clock.advance(60_000 + 3_276_799);
    expect(over).toBe(false);
    await clock.advance(1);
    expect(await adopting).toMatchObject({ code: 'storage-failed' });
  });

  it('gives a quarantine the time that a copy takes, where the size is known', async () => {
    for (const [size, withinMs] of [
      [undefined, 3_000],
      [100 * 1024 * 1024, 3_000 + 102_400],
    ] as const) {
      const { flaky, blobs, clock } = await start();
      flaky.on('blobs.quarantine', { hang: 'deaf' });
      let over = false;
      const taking = blobs.quarantine(digest, { ...(size && { size }), signal }).catch((error) => {
        over = true;
        return error;
      });
      await clock.advance(withinMs - 1);
      expect(over).toBe(false);
      await clock.advance(1);
      expect(await taking).toMatchObject({ code: 'storage-failed' });
    }
  });

  it('bounds each chunk of a streamed blob, and closes it with its reader', async () => {
    const clock = manualClock();
    const { blobs: plain, metadata } = memoryStorage({ clock });
    let closed = 0;
    const body = {
      [Symbol.asyncIterator]: () => ({
        next: never,
        return: async () => {
          closed++;
          return { done: true as const, value: undefined };
        },
      }),
    };
    const open = async (): Promise<OpenBlob> => ({ kind: 'stream', size: 10, body, close: async () => void closed++ });
    const { blobs } = timelyStorage({ blobs: { ...plain, open }, metadata, spoolDirectory: '' }, clock);
    const blob = (await blobs.open(digest, { signal })) as Extract<OpenBlob, { kind: 'stream' }>;
    const iterator = blob.body[Symbol.asyncIterator]();
    const failing = expect(iterator.next()).rejects.toMatchObject({ code: 'storage-failed' });
    await clock.advance(3_000);
    await failing;
    await iterator.return?.();
    await blob.close();
    expect(closed).toBe(2);
  });
});
