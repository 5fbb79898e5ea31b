import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createKeyIndex, type IndexDocuments } from './key-index.ts';
import { sortKeys } from './metadata-key.ts';

const signal = new AbortController().signal;

function documentsOf(texts: Map<string, string>, beforeWrite: () => void = () => undefined): IndexDocuments {
  return {
    read: async (id) => texts.get(id),
    async write(id, text) {
      beforeWrite();
      texts.set(id, text);
    },
    async remove(id) {
      beforeWrite();
      texts.delete(id);
    },
  };
}

const numbered = (count: number) => Array.from({ length: count }, (_, at) => `f/${(at * 7919) % count}`);
const all = (texts: Map<string, string>) => createKeyIndex(documentsOf(texts)).list('', { limit: 1e6, signal });

async function indexed(keys: readonly string[], texts: Map<string, string> = new Map()) {
  const index = createKeyIndex(documentsOf(texts));
  await Promise.all(keys.map((key) => index.add(key)));
  return { index, texts };
}

describe('an index of keys', () => {
  test('lists what was added and not removed, like a sorted set, over any history', async () => {
    const key = fc.tuple(fc.constantFrom('a', 'a-b', 'b'), fc.integer({ min: 0, max: 1500 })).map((p) => p.join('/'));
    const step = fc.record({ keys: fc.uniqueArray(key, { maxLength: 700 }), present: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        const { index, texts } = await indexed([]);
        const model = new Set<string>();
        for (const { keys, present } of steps) {
          await Promise.all(keys.map((one) => (present ? index.add(one) : index.remove(one))));
          for (const one of keys) {
            if (present) model.add(one);
            else model.delete(one);
          }
          const sorted = sortKeys(model);
          expect(await all(texts)).toEqual(sorted);
          const inside = sorted.filter((one) => one.startsWith('a/'));
          expect(await index.list('a/', { limit: 1e6, signal })).toEqual(inside);
          const after = 'a/5';
          const later = sortKeys([...inside, after]);
          expect(await index.list('a/', { after, limit: 10, signal })).toEqual(
            later.slice(later.lastIndexOf(after) + 1).slice(0, 10),
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  test('loses no key when the process dies at any of its writes', async () => {
    const start = numbered(2_000);
    const added = numbered(900).map((key) => `${key}-new`);
    const removed = start.filter((_, at) => at % 4 === 0);
    const kept = start.filter((_, at) => at % 4 !== 0);
    const { texts } = await indexed(start);
    for (let survives = 0; ; survives++) {
      const copy = new Map(texts);
      let writes = 0;
      const dying = createKeyIndex(
        documentsOf(copy, () => {
          writes++;
          if (writes > survives) throw new Error('killed');
        }),
      );
      const outcomes = await Promise.allSettled([
        ...added.map((key) => dying.add(key)),
        ...removed.map((key) => dying.remove(key)),
      ]);
      const acknowledged = added.filter((_, at) => outcomes[at]?.status === 'fulfilled');
      const listed = await all(copy);
      const found = new Set(listed);
      expect([...kept, ...acknowledged].filter((key) => !found.has(key))).toEqual([]);
      expect(listed).toEqual(sortKeys(found));
      if (outcomes.every(({ status }) => status === 'fulfilled')) {
        expect(listed).toEqual(sortKeys([...kept, ...added]));
        expect(survives).toBeGreaterThan(10);
        return;
      }
    }
  });

  test('rewrites little for a new key among many', async () => {
    const { texts } = await indexed(numbered(20_000).map((key) => `tag/hub/-/library%2Falpine/${key.slice(2)}`));
    let written = 0;
    const documents = documentsOf(texts);
    const index = createKeyIndex({
      ...documents,
      write: (id, text) => {
        written += text.length;
        return documents.write(id, text);
      },
    });
    await index.add('tag/hub/-/library%2Falpine/5000-new');
    expect(written).toBeLessThan(30_000);
  });

  test('writes what is added at a time together', async () => {
    const texts = new Map<string, string>();
    let writes = 0;
    const index = createKeyIndex(documentsOf(texts, () => writes++));
    await Promise.all(numbered(200).map((key) => index.add(key)));
    expect(writes).toBeLessThan(5);
  });

  test('writes nothing for a key that is there', async () => {
    const { texts } = await indexed(['a/b']);
    const index = createKeyIndex(
      documentsOf(texts, () => {
        throw new Error('written');
      }),
    );
    await index.add('a/b');
    await index.remove('a/c');
  });

  test('gives its documents back when the keys go', async () => {
    const keys = numbered(5_000);
    const { index, texts } = await indexed(keys);
    expect(texts.size).toBeGreaterThan(20);
    await Promise.all(keys.map((key) => index.remove(key)));
    expect([...texts.keys()]).toEqual(['root']);
  });

  test('goes on when a document was lost', async () => {
    const { index, texts } = await indexed(numbered(2_000));
    const [lost] = [...texts.keys()].filter((id) => id !== 'root');
    texts.delete(lost!);
    await index.add('f/0-new');
    expect(await all(texts)).toContain('f/0-new');
  });

  test.each([
    ['2 leaf', 'storage-format'],
    ['nonsense', 'storage-failed'],
  ])('refuses the document %j', async (text, code) => {
    const index = createKeyIndex(documentsOf(new Map([['root', text]])));
    await expect(index.add('a')).rejects.toMatchObject({ code });
    await expect(index.list('', { limit: 1, signal })).rejects.toMatchObject({ code });
  });
});
