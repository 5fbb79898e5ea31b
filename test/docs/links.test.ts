import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allPages, anchorsOf, type Page, proseOf, readPage, root } from './markdown.ts';

interface Link {
  line: number;
  target: string;
}

function linksOf(text: string): Link[] {
  return proseOf(text)
    .split('\n')
    .flatMap((line, index) => {
      const shown = line.replaceAll(/`[^`]*`/g, '');
      return [...shown.matchAll(/\]\(\s*([^)\s]+)(?:\s+"[^"]*")?\s*\)/g)].map(([, target = '']) => ({
        line: index + 1,
        target,
      }));
    });
}

const isRelative = ({ target }: Link) => !/^[a-z][a-z0-9+.-]*:/i.test(target);

/** What is wrong with a link of a page, or undefined. */
function broken(page: Page, { line, target }: Link): string | undefined {
  const [path = '', anchor] = target.split('#', 2);
  const file = path === '' ? page.path : normalize(join(dirname(page.path), decodeURIComponent(path)));
  const where = `${page.path}:${line}: ${target}`;
  if (file.startsWith('..')) return `${where} leads out of the repository`;
  if (!existsSync(join(root, file))) return `${where} is not there`;
  if (anchor === undefined || !file.endsWith('.md')) return undefined;
  return anchorsOf(readPage(file).text).has(anchor) ? undefined : `${where} has no such heading`;
}

describe('links', () => {
  const pages = allPages();

  it('are found in the pages that hold the most of them', () => {
    expect(pages.map(({ path }) => path)).toEqual(expect.arrayContaining(['README.md', 'docs/architecture.md']));
    expect(pages.flatMap(({ text }) => linksOf(text)).length).toBeGreaterThan(50);
  });

  it('lead to files and headings that are there', () => {
    const problems = pages.flatMap((page) =>
      linksOf(page.text)
        .filter(isRelative)
        .map((link) => broken(page, link))
        .filter((problem) => problem !== undefined),
    );
    expect(problems).toEqual([]);
  });

  it('that leave the repository are https', () => {
    const others = pages.flatMap(({ path, text }) =>
      linksOf(text)
        .filter((link) => !isRelative(link) && !link.target.startsWith('https://'))
        .map(({ line, target }) => `${path}:${line}: ${target}`),
    );
    expect(others).toEqual([]);
  });

  it.each(['nowhere.md', '#no-such-heading', '../../outside.md', 'docs/errors.md#none'])(
    'to %s would be told',
    (target) => {
      const page: Page = { path: 'README.md', text: `# Title\n\n[x](${target})\n` };
      expect(linksOf(page.text).map((link) => broken(page, link))).toEqual([expect.stringContaining('README.md:3')]);
    },
  );
});
