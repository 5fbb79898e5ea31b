import assert from 'node:assert/strict';
import type { MetadataStore } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { listAll, type MakeMetadataStore, metadataCase } from './harness.ts';

async function setAll(store: MetadataStore, keys: readonly string[]): Promise<void> {
  const { signal } = new AbortController();
  for (let at = 0; at < keys.length; at += 8) {
    await Promise.all(keys.slice(at, at + 8).map((key) => store.set(key, 'x', { signal })));
  }
}

// Ascending segment by segment: as one text, `a/b` would come after `a-b` and `a%2Fb`.
const ordered = [
  'a/%2F',
  'a/-',
  'a/.x',
  'a/0/A',
  'a/0/a',
  'a/0-/a',
  'a/00',
  'a/A',
  'a/B',
  'a/_',
  'a/a',
  'a/ab',
  'a/b',
  'a/~',
  'a-b/c',
  'a.b',
  'ab/c/d/e',
  'b',
];

/** Rules of `list`. */
export const listingCases: Contract<MakeMetadataStore> = [
  metadataCase('lists all keys in ascending order of their segments', async ({ store }) => {
    await setAll(store, [...ordered].reverse());
    assert.deepEqual(await listAll(store), ordered);
  }),

  metadataCase('lists the keys of a prefix and no others', async ({ store, signal }) => {
    await setAll(store, ordered);
    assert.deepEqual(
      await listAll(store, 'a/'),
      ordered.filter((key) => key.startsWith('a/')),
    );
    assert.deepEqual(await listAll(store, 'a/0/'), ['a/0/A', 'a/0/a']);
    assert.deepEqual(await listAll(store, 'b/'), []);
    assert.deepEqual(await listAll(store, 'nothing/here/'), []);
    for (const prefix of ['a', '/', '../', 'a//'])
      await assert.rejects(store.list(prefix, { limit: 1, signal }), prefix);
  }),

  metadataCase('goes on after any key, there or not', async ({ store, signal }) => {
    await setAll(store, ordered);
    for (const [at, after] of ordered.entries()) {
      assert.deepEqual(await store.list('', { after, limit: 100, signal }), ordered.slice(at + 1), `after ${after}`);
    }
    assert.deepEqual(await store.list('', { after: 'a/0', limit: 2, signal }), ['a/0/A', 'a/0/a']);
    assert.deepEqual(await store.list('a/', { after: 'a/0/b', limit: 1, signal }), ['a/0-/a']);
    assert.deepEqual(await store.list('a/0/', { after: 'a', limit: 1, signal }), ['a/0/A']);
    assert.deepEqual(await store.list('a/0/', { after: 'a/00', limit: 1, signal }), []);
  }),

  metadataCase('gives pages of any size', async ({ store, signal }) => {
    await setAll(store, ordered);
    for (const limit of [1, 2, 7, 18, 19]) assert.deepEqual(await listAll(store, '', limit), ordered);
    assert.deepEqual(await store.list('', { limit: 0, signal }), []);
  }),

  metadataCase('lists a folder of a thousand keys', async ({ store, signal }) => {
    const keys = Array.from({ length: 1_000 }, (_, at) => `tag/hub/-/app/v${String(at).padStart(5, '0')}`);
    await setAll(store, keys);
    assert.deepEqual(await listAll(store, 'tag/hub/-/app/', 300), keys);
    await Promise.all(keys.map((key, at) => (at % 10 ? store.delete(key, { signal }) : undefined)));
    assert.deepEqual(
      await listAll(store),
      keys.filter((_, at) => at % 10 === 0),
    );
  }),

  metadataCase('misses no key of many that are set at a time', async ({ store, signal }) => {
    const keys = Array.from({ length: 500 }, (_, at) => `folder/${at % 7}/${String(at).padStart(3, '0')}`).sort();
    await Promise.all(keys.map((key) => store.set(key, 'x', { signal })));
    assert.deepEqual(await listAll(store), keys);
  }),

  metadataCase('lists every key that stays while others come and go', async ({ store, signal }) => {
    const kept = Array.from({ length: 200 }, (_, at) => `k/${String(at).padStart(4, '0')}-kept`);
    await setAll(store, kept);
    await setAll(
      store,
      kept.map((key) => `${key}-gone`),
    );
    const seen: string[] = [];
    for (let after = '', turn = 0; ; turn++) {
      const page = await store.list('k/', after ? { after, limit: 10, signal } : { limit: 10, signal });
      seen.push(...page);
      after = page.at(-1) ?? '';
      if (page.length < 10) break;
      // What was listed last goes, as when a retention deletes what it walks over.
      for (const key of page) if (key.endsWith('gone')) await store.delete(key, { signal });
      await store.set(`k/${String(turn).padStart(4, '0')}-new`, 'x', { signal });
    }
    const found = new Set(seen);
    assert.deepEqual(
      kept.filter((key) => !found.has(key)),
      [],
    );
    assert.equal(found.size, seen.length, 'a key was listed twice');
  }),
];
