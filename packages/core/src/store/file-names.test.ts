import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sortedNames } from './file-names.ts';

const signal = new AbortController().signal;
const keyOf = (name: string) => (name.startsWith('-') ? undefined : name.toLowerCase());

test('gives every name once however few are held at a time, by the order of its key', async () => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'file-names-'));
  const names = Array.from({ length: 100 }, (_, at) => `${'aBcDe'[at % 5]}${(at * 37) % 100}`);
  for (const name of [...names, '-not', '-ours']) fs.writeFileSync(join(folder, name), '');
  const expected = names.map((name) => name.toLowerCase()).sort();
  for (const most of [1, 3, 10, 99, 100, 101]) {
    for (const after of [undefined, 'a', 'c1', 'c20', 'e99', 'f']) {
      const found: string[] = [];
      for await (const { key, name } of sortedNames(folder, { keyOf, after, reading: { signal }, most })) {
        expect(keyOf(name)).toBe(key);
        found.push(key);
      }
      expect(found).toEqual(expected.filter((key) => after === undefined || key > after));
    }
  }
  fs.rmSync(folder, { recursive: true });
});
