import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { smallestNames } from './file-names.ts';

const signal = new AbortController().signal;
const keyOf = (name: string) => (name.startsWith('-') ? undefined : name.toLowerCase());

test('gives every name once over pages of any size, by the order of its key', async () => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'file-names-'));
  const names = Array.from({ length: 100 }, (_, at) => `${'aBcDe'[at % 5]}${(at * 37) % 100}`);
  for (const name of [...names, '-not', '-ours']) fs.writeFileSync(join(folder, name), '');
  const expected = names.map((name) => name.toLowerCase()).sort();
  for (const limit of [1, 3, 10, 99, 100, 101]) {
    const keys: string[] = [];
    for (;;) {
      const page = await smallestNames(folder, { keyOf, after: keys.at(-1), limit, signal });
      expect(page.length).toBeLessThanOrEqual(limit);
      for (const { key, name } of page) expect(keyOf(name)).toBe(key);
      keys.push(...page.map(({ key }) => key));
      if (page.length < limit) break;
    }
    expect(keys).toEqual(expected);
  }
  fs.rmSync(folder, { recursive: true });
});
