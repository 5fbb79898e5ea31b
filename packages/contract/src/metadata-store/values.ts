import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { listAll, type MakeMetadataStore, metadataCase, readValue } from './harness.ts';

const gaveUp = new Error('gave up');
const hourMs = 3_600_000;
const longestMs = 15_000;

const legalKeys = [
  'a',
  'A',
  'tag/hub/-/library%2Falpine/3.20',
  'tag/hub/-/library%2Falpine/V1-RC',
  'tag/hub/-/library%2Falpine/v1-rc',
  `long/${'x'.repeat(255)}/${'Y'.repeat(255)}/${'%2F'.repeat(85)}/${'z'.repeat(255)}`,
  'dots/..a',
  'dots/a..',
  'dots/...',
  'marks/~%-_.',
];

const notKeys = ['', '/', 'a/', '/a', 'a//b', '.', '..', '../a', 'a/../b', 'a/./b', 'a b', 'ä', 'a\n', 'a:b', 'a\\b'];

/** Rules of `get`, `getMany`, and of what `set` stores. */
export const valueCases: Contract<MakeMetadataStore> = [
  metadataCase('tells a key that was never set as absent', async ({ store, signal }) => {
    assert.equal(await store.get('a/b', { signal }), undefined);
    assert.deepEqual(await store.getMany(['a/b', 'c'], { signal }), [undefined, undefined]);
  }),

  metadataCase('gives back any text as it was', async ({ store, signal }) => {
    const texts = ['', ' ', '\n', '{"a":"b\\n"}', 'ünïcödé 漢字 😀', '\u0000\u001f\u2028', `${'x'.repeat(300_000)}y`];
    for (const [at, text] of texts.entries()) {
      assert.equal(await store.set(`texts/${at}`, text, { signal }), true);
      assert.equal(await readValue(store, `texts/${at}`), text);
    }
    const keys = texts.map((_, at) => `texts/${at}`);
    const entries = await store.getMany(keys, { signal });
    assert.deepEqual(
      entries.map((entry) => entry?.value),
      texts,
    );
  }),

  metadataCase('keeps every legal key apart, in case too and up to a KiB', async ({ store, signal }) => {
    for (const key of legalKeys) await store.set(key, `value of ${key}`, { signal });
    for (const key of legalKeys) assert.equal(await readValue(store, key), `value of ${key}`);
    assert.deepEqual((await listAll(store)).sort(), [...legalKeys].sort());
  }),

  metadataCase('refuses what is no key', async ({ store, signal }) => {
    for (const key of [...notKeys, 'x'.repeat(256)]) {
      await assert.rejects(store.get(key, { signal }), key);
      await assert.rejects(store.getMany(['a', key], { signal }), key);
      await assert.rejects(store.set(key, '', { signal }), key);
      await assert.rejects(store.delete(key, { signal }), key);
    }
  }),

  metadataCase('answers many keys in their order', async ({ store, signal }) => {
    const keys = Array.from({ length: 600 }, (_, at) => `many/${at}`);
    await Promise.all(keys.map((key, at) => (at % 3 ? store.set(key, key, { signal }) : undefined)));
    const asked = [...keys.reverse(), 'many/1', 'many/1'];
    const entries = await store.getMany(asked, { signal });
    const expected = asked.map((key) => (Number(key.slice(5)) % 3 ? key : undefined));
    assert.deepEqual(
      entries.map((entry) => entry?.value),
      expected,
    );
    assert.deepEqual(await store.getMany([], { signal }), []);
  }),

  metadataCase('lets the last write win', async ({ store, signal }) => {
    for (const value of ['1', '2', '3']) await store.set('key', value, { signal });
    assert.equal(await readValue(store, 'key'), '3');
  }),

  metadataCase('never shows a torn value while it is written', async ({ store, signal }) => {
    const written = Array.from({ length: 30 }, (_, at) => String.fromCharCode(97 + (at % 26)).repeat(20_000 + at));
    await store.set('key', written[0] ?? '', { signal });
    let done = false;
    const reading = (async () => {
      while (!done) assert.ok(written.includes((await readValue(store, 'key')) ?? ''), 'a value nobody wrote');
    })();
    const writing = Promise.all(written.map((value) => store.set('key', value, { signal })));
    await writing.finally(() => {
      done = true;
    });
    await reading;
  }),

  metadataCase('tells what has expired as absent, and lists it no more', async ({ store, signal }) => {
    await store.set('expired', 'x', { expiresAt: Date.now() - 1, signal });
    await store.set('valid', 'x', { expiresAt: Date.now() + hourMs, signal });
    assert.equal(await store.get('expired', { signal }), undefined);
    assert.deepEqual(
      (await store.getMany(['expired', 'valid'], { signal })).map((entry) => entry?.value),
      [undefined, 'x'],
    );
    assert.deepEqual(await listAll(store), ['valid']);
    assert.equal(await store.delete('expired', { signal }), false);
  }),

  metadataCase('lets a record go when its time comes', async ({ store, signal }) => {
    await store.set('key', '1', { expiresAt: Date.now() + 300, signal });
    const begun = performance.now();
    while ((await store.get('key', { signal })) !== undefined) {
      assert.ok(performance.now() - begun < longestMs, 'it was there long after its time');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(await store.getMany(['key'], { signal }), [undefined]);
    assert.deepEqual(await listAll(store), []);
    assert.equal(await store.set('key', '2', { ifVersion: 'absent', signal }), true);
  }),

  metadataCase('forgets an expiry when the key is set without one', async ({ store, signal }) => {
    await store.set('key', '1', { expiresAt: Date.now() - 1, signal });
    await store.set('key', '2', { signal });
    assert.equal(await readValue(store, 'key'), '2');
    assert.deepEqual(await listAll(store), ['key']);
  }),

  metadataCase('does nothing for a caller that has given up', async ({ store, signal }) => {
    await store.set('key', '1', { signal });
    const left = { signal: AbortSignal.abort(gaveUp) };
    await assert.rejects(store.get('key', left), gaveUp);
    await assert.rejects(store.getMany(['key'], left), gaveUp);
    await assert.rejects(store.set('key', '2', left), gaveUp);
    await assert.rejects(store.delete('key', left), gaveUp);
    await assert.rejects(store.list('', { limit: 1, ...left }), gaveUp);
    assert.equal(await readValue(store, 'key'), '1');
  }),

  metadataCase('has done a call or not of a caller who gives up meanwhile', async ({ store, signal }) => {
    await store.set('key', '1', { signal });
    for (let round = 0; round < 5; round++) {
      const controller = new AbortController();
      const left = { signal: controller.signal };
      const calls = [
        store.get('key', left),
        store.getMany(['key', 'other'], left),
        store.set('key', '2', left),
        store.delete('other', left),
        store.list('', { limit: 10, ...left }),
      ];
      if (round > 0) await new Promise(setImmediate);
      controller.abort(gaveUp);
      for (const outcome of await Promise.allSettled(calls)) {
        if (outcome.status === 'rejected') assert.equal(outcome.reason, gaveUp);
      }
      // What is done for others waits for no caller who has gone.
      await store.set('key', '3', { signal });
      assert.equal(await readValue(store, 'key'), '3');
    }
  }),
];
