import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { layers } from '../architecture/imports.ts';
import { readSources } from '../architecture/source-file.ts';
import { allPages, codeWords, readPage, root, tableRows } from './markdown.ts';

const semantics = readPage('docs/semantics.md').text;

/** The numbers of the rules, in their order. */
const rules = [...semantics.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));

/** The folders of core that are there, from the top down. */
function foldersOfCore(): string[] {
  const entries = readdirSync(join(root, 'packages/core/src'), { withFileTypes: true });
  const there = new Set(entries.filter((entry) => entry.isDirectory()).map(({ name }) => name));
  return layers.filter((layer) => there.has(layer));
}

describe('the order of the folders of core', () => {
  it('is that of the architecture test, in AGENTS.md', () => {
    const [line = ''] = readPage('AGENTS.md').text.match(/^`\w+` > .*$/m) ?? [];
    expect(codeWords(line)).toEqual(foldersOfCore());
  });

  it('is that of the architecture test, in docs/architecture.md', () => {
    const rows = tableRows(readPage('docs/architecture.md').text);
    const linked = rows.map(([cell = '']) => /^\[(\w+)\]\(\.\.\/packages\/core\/src\/\1\)$/.exec(cell)?.[1]);
    expect(linked.filter((folder) => folder !== undefined)).toEqual(foldersOfCore());
  });
});

describe('the rules of docs/semantics.md', () => {
  it('are numbered upwards, each number once', () => {
    expect(rules.length).toBeGreaterThan(30);
    expect(rules).toEqual([...new Set(rules)].sort((a, b) => a - b));
  });

  it('are there for every comment and test that cites one', () => {
    const cited = ['packages', 'examples', 'test']
      .flatMap(readSources)
      .flatMap(({ path, text }) => [...text.matchAll(/SEMANTICS (\d+)/g)].map(([, number]) => ({ path, number })));
    expect(cited.length).toBeGreaterThan(0);
    expect(cited.filter(({ number }) => !rules.includes(Number(number)))).toEqual([]);
  });

  it('are there for every number in brackets of docs/concepts.md', () => {
    const cited = [...readPage('docs/concepts.md').text.matchAll(/\((\d+)(?:-(\d+))?\)/g)].flatMap(([, from, to]) =>
      [from, to].filter((number) => number !== undefined).map(Number),
    );
    expect(cited.length).toBeGreaterThan(5);
    expect(cited.filter((number) => !rules.includes(number))).toEqual([]);
  });
});

describe('the list of decisions', () => {
  it('names every page with its title', () => {
    const pages = allPages().filter(({ path }) => /^docs\/decisions\/\d{4}-/.test(path));
    const listed = tableRows(readPage('docs/decisions/README.md').text).map(([link = '', title]) => ({
      file: /\((.+)\)/.exec(link)?.[1],
      title,
    }));
    const titles = pages.map(({ path, text }) => ({
      file: path.slice('docs/decisions/'.length),
      title: /^# \d{4}: (.+)$/m.exec(text)?.[1],
    }));
    expect(listed).toEqual(titles.sort((a, b) => a.file.localeCompare(b.file)));
  });

  it('leads to pages of the same parts', () => {
    for (const { path, text } of allPages().filter((page) => /^docs\/decisions\/\d{4}-/.test(page.path))) {
      const parts = [...text.matchAll(/^\*\*([\w ]+)\.\*\*/gm)].map(([, part]) => part);
      expect({ path, parts }).toEqual({ path, parts: ['Context', 'Decision', 'Consequences', 'Turned down'] });
    }
  });
});
