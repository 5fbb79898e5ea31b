import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import type { MetadataStore } from '@proxycache/core';
import type { ContractCase } from '../contract.ts';

/** Makes a store that is empty; `close` ends what it holds. */
export type MakeMetadataStore = () => Promise<{ store: MetadataStore; close(): Promise<void> }>;

/** What a case works with. */
export interface MetadataFixture {
  store: MetadataStore;
  signal: AbortSignal;
}

/** A case that runs on a fresh store and checks that the store is empty once what it lists was deleted. */
export function metadataCase(
  name: string,
  check: (fixture: MetadataFixture) => Promise<void>,
): ContractCase<MakeMetadataStore> {
  return {
    name,
    async run(make) {
      const { store, close } = await make();
      const { signal } = new AbortController();
      // A case uses it for many calls at a time.
      setMaxListeners(0, signal);
      try {
        await check({ store, signal });
        for (const key of await listAll(store)) {
          assert.equal(await store.delete(key, { signal }), true, `${key} is listed but was not there to delete`);
        }
        assert.deepEqual(await listAll(store), []);
      } finally {
        await close();
      }
    },
  };
}

/** All keys under a prefix, in pages. */
export async function listAll(store: MetadataStore, prefix = '', limit = 1_000): Promise<string[]> {
  const { signal } = new AbortController();
  const keys: string[] = [];
  for (;;) {
    const after = keys.at(-1);
    const page = await store.list(prefix, after === undefined ? { limit, signal } : { after, limit, signal });
    assert.ok(page.length <= limit, `${page.length} keys in a page of ${limit}`);
    keys.push(...page);
    if (page.length < limit) return keys;
  }
}

/** The value of a key. */
export async function readValue(store: MetadataStore, key: string): Promise<string | undefined> {
  return (await store.get(key, { signal: new AbortController().signal }))?.value;
}

/** The version of a key that is there. */
export async function versionOf(store: MetadataStore, key: string): Promise<string> {
  const entry = await store.get(key, { signal: new AbortController().signal });
  assert.ok(entry, `${key} is not there`);
  return entry.version;
}
