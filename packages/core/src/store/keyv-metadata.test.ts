import { manualClock } from '@proxycache/test-kit';
import { Keyv } from 'keyv';
import { describe, expect, test } from 'vitest';
import { keyvMetadata } from './keyv-metadata.ts';

const signal = new AbortController().signal;
const page = { limit: 100, signal };

/** A store for Keyv whose calls a test breaks or holds. */
function brokenStore() {
  const map = new Map<string, string>();
  const store = {
    namespace: undefined,
    opts: undefined,
    trouble: async (): Promise<void> => undefined,
    map,
    get: async (key: string) => store.trouble().then(() => map.get(key)),
    set: async (key: string, value: string): Promise<unknown> => store.trouble().then(() => map.set(key, value)),
    delete: async (key: string) => store.trouble().then(() => map.delete(key)),
    clear: async () => map.clear(),
    on: () => store,
  };
  return store;
}

describe('a Keyv is taken', () => {
  test('that swallows errors, and throws them from then on', async () => {
    const store = brokenStore();
    const metadata = keyvMetadata(new Keyv({ store }));
    store.trouble = () => Promise.reject(new Error('disk on fire'));
    const failed = { code: 'storage-failed', message: expect.stringContaining('disk on fire') };
    await expect(metadata.get('key', { signal })).rejects.toMatchObject(failed);
    await expect(metadata.getMany(['key'], { signal })).rejects.toMatchObject(failed);
    await expect(metadata.set('key', 'x', { signal })).rejects.toMatchObject(failed);
    await expect(metadata.delete('key', { signal })).rejects.toMatchObject(failed);
    await expect(metadata.list('', page)).rejects.toMatchObject(failed);
  });

  test('and its store, which may swallow errors too', () => {
    const store = Object.assign(brokenStore(), { throwOnErrors: false });
    keyvMetadata(new Keyv({ store }));
    expect(store.throwOnErrors).toBe(true);
  });

  test.each([
    [new Keyv({ ttl: 1000 }), /ttl of 1000 ms/],
    [new Keyv({ namespace: 'proxy:tags' }), /namespace.*"proxy:tags"/],
    [new Keyv({ namespace: 'a*' }), /namespace.*"a\*"/],
    [new Map() as never, /expected a Keyv/],
    [undefined as never, /expected a Keyv, received undefined/],
  ])('unless it cannot hold records (%#)', (keyv, message) => {
    expect(() => keyvMetadata(keyv)).toThrow(expect.objectContaining({ code: 'invalid-options' }));
    expect(() => keyvMetadata(keyv)).toThrow(message);
  });

  test('until another Keyv takes its store over', async () => {
    const store = brokenStore();
    const metadata = keyvMetadata(new Keyv({ store, namespace: 'mine', useKeyPrefix: false }));
    await metadata.set('key', 'x', { signal });
    new Keyv({ store, namespace: 'other', useKeyPrefix: false });
    await expect(metadata.get('key', { signal })).rejects.toMatchObject({
      code: 'invalid-options',
      message: expect.stringContaining('"other"'),
    });
  });
});

test('a value that the store did not take is a failure', async () => {
  const store = brokenStore();
  store.set = async () => false;
  const metadata = keyvMetadata(new Keyv({ store }));
  await expect(metadata.set('key', 'x', { signal })).rejects.toMatchObject({ code: 'storage-failed' });
});

test('a value is readable until it expires by the given clock, and then no more, nor listed', async () => {
  const clock = manualClock();
  const keyv = new Keyv();
  const metadata = keyvMetadata(keyv, { clock });
  await metadata.set('key', 'x', { expiresAt: clock.now() + 1000, signal });
  clock.set(clock.now() + 999);
  expect(await metadata.get('key', { signal })).toMatchObject({ value: 'x' });
  expect(await metadata.list('', page)).toEqual(['key']);
  clock.set(clock.now() + 1);
  expect(await metadata.get('key', { signal })).toBeUndefined();
  expect(await keyv.get('key')).toBeDefined();
  expect(await metadata.list('', page)).toEqual([]);
  expect(await keyv.get('key')).toBeUndefined();
});

test('a value that expires is left to the Keyv to collect an hour later', async () => {
  const clock = manualClock();
  const keyv = new Keyv();
  const ttls: unknown[] = [];
  keyv.hooks.addHandler('preSet', ({ key, ttl }: { key: string; ttl?: number }) => {
    if (!key.startsWith('!')) ttls.push(ttl);
  });
  const metadata = keyvMetadata(keyv, { clock });
  await metadata.set('a', 'x', { expiresAt: clock.now() + 500, signal });
  await metadata.set('b', 'x', { signal });
  await metadata.set('c', 'x', { expiresAt: Number.POSITIVE_INFINITY, signal });
  expect(ttls).toEqual([3_600_500, undefined, undefined]);
});

describe('a record that cannot be read', () => {
  test.each([
    ['nonsense', 'storage-damaged'],
    ['1 v', 'storage-damaged'],
    ['1 v x -\nvalue', 'storage-damaged'],
    [42, 'storage-damaged'],
    ['2 v - -\nvalue', 'storage-format'],
  ])('is an error that names the key, not absent: %j', async (text, code) => {
    const keyv = new Keyv();
    const metadata = keyvMetadata(keyv);
    await metadata.set('a/key', 'x', { signal });
    await keyv.set('a/key', text);
    const failed = { code, message: expect.stringContaining('a/key') };
    await expect(metadata.get('a/key', { signal })).rejects.toMatchObject(failed);
    await expect(metadata.getMany(['a/key'], { signal })).rejects.toMatchObject(failed);
    await expect(metadata.set('a/key', 'y', { ifVersion: 'absent', signal })).rejects.toMatchObject(failed);
  });

  test('is listed, and repaired by the next write or delete', async () => {
    const keyv = new Keyv();
    const metadata = keyvMetadata(keyv);
    await metadata.set('a', 'x', { signal });
    await metadata.set('b', 'x', { signal });
    await keyv.set('a', 'damaged');
    await keyv.set('b', 'damaged');
    expect(await metadata.list('', page)).toEqual(['a', 'b']);
    await metadata.set('a', 'y', { signal });
    expect(await metadata.get('a', { signal })).toMatchObject({ value: 'y' });
    expect(await metadata.delete('b', { signal })).toBe(true);
    expect(await metadata.get('b', { signal })).toBeUndefined();
  });
});

describe('the index in the Keyv', () => {
  test('is found again after a restart', async () => {
    const store = new Map();
    await keyvMetadata(new Keyv({ store })).set('tag/a', 'x', { signal });
    const metadata = keyvMetadata(new Keyv({ store }));
    await metadata.set('tag/b', 'x', { signal });
    expect(await metadata.list('tag/', page)).toEqual(['tag/a', 'tag/b']);
  });

  test('has an entry before the value can be read', async () => {
    const store = brokenStore();
    const written: string[] = [];
    const { set } = store;
    store.set = async (key, value) => {
      written.push(key);
      return await set(key, value);
    };
    const metadata = keyvMetadata(new Keyv({ store, useKeyPrefix: false }));
    await metadata.set('key', 'x', { signal });
    await metadata.set('key', 'y', { signal });
    expect(written).toEqual(['!index/root', 'key', 'key']);
  });

  test('loses entries whose value is gone when they are listed', async () => {
    const keyv = new Keyv();
    const metadata = keyvMetadata(keyv);
    await metadata.set('gone', 'x', { signal });
    await metadata.set('kept', 'x', { signal });
    await keyv.delete('gone');
    expect(await metadata.list('', { limit: 1, signal })).toEqual(['kept']);
    expect(await keyv.get('!index/root')).not.toContain('gone');
  });
});

describe('a Keyv that hangs', () => {
  test('holds nobody who gives up, and what nobody waits for is not written', async () => {
    const store = brokenStore();
    const metadata = keyvMetadata(new Keyv({ store }));
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    store.trouble = () => held;
    const controller = new AbortController();
    const left = { signal: controller.signal };
    const calls = [
      metadata.get('key', left),
      metadata.getMany(['key'], left),
      metadata.set('key', 'first', left),
      metadata.set('key', 'second', left),
      metadata.delete('key', left),
      metadata.list('', { limit: 1, ...left }),
    ];
    const ended = Promise.allSettled(calls);
    controller.abort(new Error('gave up'));
    for (const outcome of await ended) expect(outcome).toMatchObject({ reason: { message: 'gave up' } });
    release();
    await metadata.set('key', 'third', { signal });
    expect([...store.map.values()].filter((text) => text.includes('second'))).toEqual([]);
    expect(await metadata.get('key', { signal })).toMatchObject({ value: 'third' });
  });
});
