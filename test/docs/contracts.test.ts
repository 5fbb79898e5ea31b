import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { expect, test } from 'vitest';
import { readPage, root, tableRows } from './markdown.ts';

/** What of a page runs a contract: the path of the file, and the contract's name. */
type Run = [file: string, contract: string];

const passedBy = new Set(['node_modules', 'dist']);

function sourcesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return passedBy.has(entry.name) ? [] : sourcesBelow(path);
    return /\.(test\.ts|mjs)$/.test(entry.name) ? [path] : [];
  });
}

const sources = ['packages', 'examples', 'test'].flatMap((folder) =>
  sourcesBelow(join(root, folder)).map((path) => ({
    path: relative(root, path).split(sep).join('/'),
    text: readFileSync(path, 'utf8'),
  })),
);

const runs: Run[] = sources.flatMap(({ path, text }) =>
  [...text.matchAll(/\bcasesOf\((\w+Contract)\b/g)].map(([, contract]): Run => [path, contract ?? '']),
);

/** `{ case: '…', reason: '…' }` in the files that run contracts. */
const skips = sources
  .filter(({ path }) => runs.some(([file]) => file === path))
  .flatMap(({ path, text }) =>
    [...text.matchAll(/\bcase: (['"])(.*?)\1,\s*reason: (['"])(.*?)\3/gs)].map(([, , name, , reason]) => [
      path,
      name,
      reason,
    ]),
  );

const page = readPage('docs/conformance.md').text;
const rows = tableRows(/\n## Contracts\n(.*?)\n## /s.exec(page)?.[1] ?? '');
const fileOf = (cell = '') => /\(\.\.\/([^)]+)\)/.exec(cell)?.[1] ?? '';
const sorted = (some: readonly (readonly (string | undefined)[])[]) =>
  [...new Set(some.map((one) => one.join(' | ')))].sort();

test('the page on conformance names everything that runs a contract, and nothing else', () => {
  const told = rows.filter(([, contracts]) => contracts?.startsWith('`'));
  const named = told.flatMap(([file, contracts = '']) =>
    [...contracts.matchAll(/`(\w+)`/g)].map(([, contract]) => [fileOf(file), contract ?? '']),
  );
  expect(runs.length).toBeGreaterThan(15);
  expect(sorted(named)).toEqual(sorted(runs));
});

test('the page on conformance names every case that is not kept, with its reason', () => {
  const told = rows.filter(([, contracts]) => !contracts?.startsWith('`'));
  expect(sorted(told.map(([file, name, reason]) => [fileOf(file), name, reason]))).toEqual(sorted(skips));
});
