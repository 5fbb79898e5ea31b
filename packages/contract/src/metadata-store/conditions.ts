import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { listAll, type MakeMetadataStore, metadataCase, readValue, versionOf } from './harness.ts';

/** Rules of `ifVersion`, `fence` and `delete`. */
export const conditionCases: Contract<MakeMetadataStore> = [
  metadataCase('gives every write another version', async ({ store, signal }) => {
    const versions = new Set<string>();
    for (let write = 0; write < 5; write++) {
      await store.set('key', 'same', { signal });
      versions.add(await versionOf(store, 'key'));
    }
    assert.equal(versions.size, 5);
    const [entry] = await store.getMany(['key'], { signal });
    assert.equal(entry?.version, await versionOf(store, 'key'));
  }),

  metadataCase('gives a key that was deleted and set again another version', async ({ store, signal }) => {
    await store.set('key', 'same', { signal });
    const version = await versionOf(store, 'key');
    await store.delete('key', { signal });
    await store.set('key', 'same', { signal });
    assert.notEqual(await versionOf(store, 'key'), version);
  }),

  metadataCase('writes only over the version that was asked for', async ({ store, signal }) => {
    await store.set('key', '1', { signal });
    const first = await versionOf(store, 'key');
    assert.equal(await store.set('key', '2', { ifVersion: first, signal }), true);
    assert.equal(await store.set('key', '3', { ifVersion: first, signal }), false);
    assert.equal(await readValue(store, 'key'), '2');
    assert.equal(await store.set('other', '1', { ifVersion: first, signal }), false);
    assert.equal(await readValue(store, 'other'), undefined);
  }),

  metadataCase('writes only over nothing when that was asked for', async ({ store, signal }) => {
    assert.equal(await store.set('key', '1', { ifVersion: 'absent', signal }), true);
    assert.equal(await store.set('key', '2', { ifVersion: 'absent', signal }), false);
    assert.equal(await readValue(store, 'key'), '1');
  }),

  metadataCase('takes what has expired for nothing', async ({ store, signal }) => {
    await store.set('key', '1', { expiresAt: Date.now() - 1, signal });
    assert.equal(await store.set('key', '2', { ifVersion: 'absent', signal }), true);
    assert.equal(await readValue(store, 'key'), '2');
  }),

  metadataCase('lets one of many writers win who saw the same version', async ({ store, signal }) => {
    await store.set('key', 'start', { signal });
    const ifVersion = await versionOf(store, 'key');
    const writers = Array.from({ length: 20 }, (_, at) => store.set('key', String(at), { ifVersion, signal }));
    const winners = (await Promise.all(writers)).flatMap((won, at) => (won ? [String(at)] : []));
    assert.equal(winners.length, 1);
    assert.equal(await readValue(store, 'key'), winners[0]);
  }),

  metadataCase('lets one of many writers win who saw nothing', async ({ store, signal }) => {
    const writers = Array.from({ length: 20 }, (_, at) =>
      store.set('key', String(at), { ifVersion: 'absent', signal }),
    );
    const winners = (await Promise.all(writers)).flatMap((won, at) => (won ? [String(at)] : []));
    assert.equal(winners.length, 1);
    assert.equal(await readValue(store, 'key'), winners[0]);
  }),

  metadataCase('loses none of many changes that are made by version at the same time', async ({ store, signal }) => {
    const add = async () => {
      for (;;) {
        const entry = await store.get('count', { signal });
        const next = String(Number(entry?.value ?? '0') + 1);
        if (await store.set('count', next, { ifVersion: entry?.version ?? 'absent', signal })) return;
      }
    };
    await Promise.all(
      Array.from({ length: 6 }, async () => {
        for (let time = 0; time < 5; time++) await add();
      }),
    );
    assert.equal(await readValue(store, 'count'), '30');
  }),

  metadataCase('lets one of many win who delete the same version', async ({ store, signal }) => {
    await store.set('key', '1', { signal });
    const ifVersion = await versionOf(store, 'key');
    const deleted = await Promise.all(Array.from({ length: 10 }, () => store.delete('key', { ifVersion, signal })));
    assert.equal(deleted.filter(Boolean).length, 1);
  }),

  metadataCase('keeps the write of the highest fence of many at the same time', async ({ store, signal }) => {
    const fences = Array.from({ length: 20 }, (_, at) => 1_700_000_000_000_000 + ((at * 7) % 20));
    await Promise.all(fences.map((fence) => store.set('key', String(fence), { fence, signal })));
    assert.equal(await readValue(store, 'key'), String(Math.max(...fences)));
  }),

  metadataCase('refuses a lower fence than it has seen', async ({ store, signal }) => {
    assert.equal(await store.set('key', '1', { fence: 7, signal }), true);
    assert.equal(await store.set('key', '2', { fence: 6, signal }), false);
    assert.equal(await readValue(store, 'key'), '1');
    assert.equal(await store.set('key', '3', { fence: 7, signal }), true);
    assert.equal(await store.set('key', '4', { fence: 8, signal }), true);
    assert.equal(await readValue(store, 'key'), '4');
  }),

  metadataCase('keeps a fence that a later write does not name', async ({ store, signal }) => {
    await store.set('key', '1', { fence: 9, signal });
    await store.set('key', '2', { signal });
    await store.set('key', '3', { ifVersion: await versionOf(store, 'key'), signal });
    assert.equal(await store.set('key', '4', { fence: 8, signal }), false);
    assert.equal(await readValue(store, 'key'), '3');
    assert.equal(await store.set('key', '5', { fence: 9, signal }), true);
  }),

  metadataCase('keeps a fence when its record has expired, was listed, or was deleted', async ({ store, signal }) => {
    const ends = {
      expired: () => store.set('key', '1', { fence: 7, expiresAt: Date.now() - 1, signal }),
      deleted: async () => {
        await store.set('key', '1', { fence: 7, signal });
        assert.equal(await store.delete('key', { signal }), true);
      },
      'deleted and expired': async () => {
        await store.set('key', '1', { fence: 7, expiresAt: Date.now() - 1, signal });
        assert.equal(await store.delete('key', { signal }), false);
      },
      'deleted after a write without a fence': async () => {
        await store.set('key', '1', { fence: 7, signal });
        await store.set('key', '2', { signal });
        assert.equal(await store.delete('key', { ifVersion: await versionOf(store, 'key'), signal }), true);
      },
    };
    for (const [how, end] of Object.entries(ends)) {
      await end();
      assert.equal(await store.get('key', { signal }), undefined, how);
      for (let look = 0; look < 2; look++) assert.deepEqual(await listAll(store), [], how);
      assert.equal(await store.delete('key', { signal }), false, how);
      assert.equal(await store.set('key', 'late', { fence: 6, signal }), false, how);
      assert.equal(await store.set('key', 'late', { fence: 6, ifVersion: 'absent', signal }), false, how);
      assert.equal(await store.set('key', 'next', { fence: 7, ifVersion: 'absent', signal }), true, how);
      assert.equal(await readValue(store, 'key'), 'next', how);
      assert.deepEqual(await listAll(store), ['key'], how);
    }
  }),

  metadataCase('deletes a key once', async ({ store, signal }) => {
    await store.set('folder/key', '1', { signal });
    assert.equal(await store.delete('folder/key', { signal }), true);
    assert.equal(await store.get('folder/key', { signal }), undefined);
    assert.equal(await store.delete('folder/key', { signal }), false);
  }),

  metadataCase('deletes only the version that was asked for', async ({ store, signal }) => {
    await store.set('key', '1', { signal });
    const first = await versionOf(store, 'key');
    await store.set('key', '2', { signal });
    assert.equal(await store.delete('key', { ifVersion: first, signal }), false);
    assert.equal(await readValue(store, 'key'), '2');
    assert.equal(await store.delete('key', { ifVersion: await versionOf(store, 'key'), signal }), true);
    assert.equal(await store.delete('key', { ifVersion: first, signal }), false);
  }),

  metadataCase('keeps what is set while its neighbours are deleted', async ({ store, signal }) => {
    for (let round = 0; round < 20; round++) {
      await store.set('folder/deep/gone', 'x', { signal });
      await Promise.all([
        store.delete('folder/deep/gone', { signal }),
        store.set(`folder/deep/${round}`, 'x', { signal }),
        store.set(`folder/other/${round}`, 'x', { signal }),
      ]);
      assert.equal(await readValue(store, `folder/deep/${round}`), 'x');
      assert.equal(await readValue(store, `folder/other/${round}`), 'x');
      if (round % 2) {
        await store.delete(`folder/deep/${round}`, { signal });
        await store.delete(`folder/deep/${round - 1}`, { signal });
      }
    }
  }),
];
