import type { Digest, OpenBlob, Storage } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { flakyStore } from './flaky-store.ts';
import { gate } from './gate.ts';

const digest: Digest = `sha256:${'a'.repeat(64)}`;
const signal = new AbortController().signal;

/** Just enough of a storage to see what gets through. */
function plainStorage(kind: OpenBlob['kind'] = 'file'): Storage & { done: string[] } {
  const done: string[] = [];
  async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Uint8Array.of(1);
    yield Uint8Array.of(2);
  }
  const close = async () => void done.push('close');
  return {
    done,
    spoolDirectory: '/nowhere',
    blobs: {
      open: async () =>
        kind === 'stream'
          ? { kind, size: 2, body: body(), close }
          : { kind, size: 1, read: async (into) => into.fill(7, 0, 1) && 1, close },
      adopt: async () => void done.push('adopt'),
      put: async () => void done.push('put'),
      delete: async () => true,
      quarantine: async () => false,
      async *digests() {
        yield { digest, size: 1, storedAt: 0 };
      },
    },
    metadata: {
      get: async (key) => ({ value: key, version: '1' }),
      getMany: async (keys) => keys.map((value) => ({ value, version: '1' })),
      set: async (key) => done.push(`set ${key}`) > 0,
      delete: async () => true,
      list: async () => ['a'],
    },
  };
}

describe('flakyStore', () => {
  test('passes everything on while nothing is wrong, and counts it', async () => {
    const flaky = flakyStore(plainStorage());
    expect(await flaky.metadata.get('k', { signal })).toEqual({ value: 'k', version: '1' });
    expect(await flaky.metadata.set('k', 'v', { signal })).toBe(true);
    const listed: unknown[] = [];
    for await (const blob of flaky.blobs.digests({ signal })) listed.push(blob);
    expect(listed).toHaveLength(1);
    expect(flaky.calls('metadata.get')).toBe(1);
    expect(flaky.calls('blobs.digests')).toBe(1);
    expect(flaky.calls('blobs.put')).toBe(0);
    expect(flaky.spoolDirectory).toBe('/nowhere');
  });

  test('throws as often as it was told, without doing anything', async () => {
    const inner = plainStorage();
    const flaky = flakyStore(inner);
    flaky.on('blobs.put', { fail: 'disk full', times: 1 });
    const blob = { digest, bytes: Uint8Array.of(1), signal };
    await expect(flaky.blobs.put(blob)).rejects.toThrow('disk full');
    expect(inner.done).toEqual([]);
    await flaky.blobs.put(blob);
    expect(inner.done).toEqual(['put']);
    expect(flaky.calls('blobs.put')).toBe(2);
  });

  test('throws the very error it was given until it is healed', async () => {
    const flaky = flakyStore(plainStorage());
    const error = Object.assign(new Error('no space'), { code: 'ENOSPC' });
    flaky.on('metadata.set', { fail: error });
    for (let i = 0; i < 2; i++) await expect(flaky.metadata.set('k', 'v', { signal })).rejects.toBe(error);
    flaky.heal('metadata.set');
    expect(await flaky.metadata.set('k', 'v', { signal })).toBe(true);
  });

  test('hangs until the signal fires', async () => {
    const flaky = flakyStore(plainStorage());
    const controller = new AbortController();
    flaky.on('metadata.get', { hang: true });
    const call = flaky.metadata.get('k', { signal: controller.signal });
    controller.abort(new Error('given up'));
    await expect(call).rejects.toThrow('given up');
  });

  test('hangs deaf to the signal until it is healed, then does its work', async () => {
    const flaky = flakyStore(plainStorage());
    flaky.on('metadata.get', { hang: 'deaf' });
    let done = false;
    const call = flaky.metadata.get('k', { signal: AbortSignal.abort() }).finally(() => {
      done = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    flaky.heal();
    expect(await call).toEqual({ value: 'k', version: '1' });
  });

  test('holds a call at a gate', async () => {
    const inner = plainStorage();
    const flaky = flakyStore(inner);
    const held = gate();
    flaky.on('blobs.adopt', { gate: held });
    const call = flaky.blobs.adopt({ file: 'f', digest, size: 1, signal });
    await held.reached;
    expect(inner.done).toEqual([]);
    held.open();
    await call;
    expect(inner.done).toEqual(['adopt']);
  });

  test('fails in the middle of reading a file or a stream', async () => {
    const file = flakyStore(plainStorage());
    const opened = await file.blobs.open(digest, { signal });
    if (opened?.kind !== 'file') throw new Error('expected a file');
    expect(await opened.read(new Uint8Array(1), 0)).toBe(1);
    file.on('blobs.read', { fail: 'bad sector' });
    await expect(opened.read(new Uint8Array(1), 0)).rejects.toThrow('bad sector');

    const remote = flakyStore(plainStorage('stream'));
    const stream = await remote.blobs.open(digest, { signal });
    if (stream?.kind !== 'stream') throw new Error('expected a stream');
    const iterator = stream.body[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual(Uint8Array.of(1));
    remote.on('blobs.read', { fail: 'connection lost' });
    await expect(iterator.next()).rejects.toThrow('connection lost');
  });

  test('counts blobs that were opened and not closed', async () => {
    const inner = plainStorage();
    const flaky = flakyStore(inner);
    const first = await flaky.blobs.open(digest, { signal });
    await flaky.blobs.open(digest, { signal });
    expect(flaky.openBlobs()).toBe(2);
    await first?.close();
    await first?.close();
    expect(flaky.openBlobs()).toBe(1);
    expect(inner.done).toEqual(['close', 'close']);
  });
});
