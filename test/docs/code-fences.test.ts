import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { allPages, fencesOf, root } from './markdown.ts';

// The docs folder is a workspace member that depends on what the pages import. Inside its node_modules no tool but this
// test looks at the files.
const modules = join(root, 'docs/node_modules');
mkdirSync(modules, { recursive: true });
const folder = mkdtempSync(join(modules, '.fences-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Snippet {
  page: string;
  line: number;
  file: string;
  code: string;
}

function snippetsOf(page: { path: string; text: string }): Snippet[] {
  return fencesOf(page.text)
    .filter(({ language }) => ['ts', 'js', 'typescript', 'javascript'].includes(language))
    .map(({ language, code, line }) => {
      const name = `${page.path.replaceAll(/[^A-Za-z0-9]+/g, '-')}-${line}.${language.startsWith('t') ? 'mts' : 'mjs'}`;
      return { page: page.path, line, file: name, code };
    });
}

/** Type-checks files, all in one run, and gives what the compiler says. */
function compile(files: readonly string[]): string {
  const options = {
    extends: join(root, 'tsconfig.base.json'),
    compilerOptions: {
      noEmit: true,
      composite: false,
      isolatedDeclarations: false,
      declarationMap: false,
      allowImportingTsExtensions: true,
      rewriteRelativeImportExtensions: false,
      // A page shows what matters: unused names and types of functions that nobody imports are beside the point.
      allowJs: true,
      checkJs: true,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
    },
    files,
  };
  const config = join(folder, 'tsconfig.json');
  writeFileSync(config, JSON.stringify(options));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { stdout, stderr, error } = spawnSync(process.execPath, [tsc, '-p', config, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (error) throw error;
  return `${stdout}${stderr}`;
}

/** The compiler's words with the page and line a reader finds. */
function located(output: string, snippets: readonly Snippet[]): string[] {
  return output
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const at = /^(?:.*\/)?([^/(]+)\((\d+),\d+\): (.*)$/.exec(line);
      const snippet = snippets.find(({ file }) => file === at?.[1]);
      return at && snippet ? `${snippet.page}:${snippet.line + Number(at[2]) - 1}: ${at[3]}` : line;
    });
}

describe('code in the pages', () => {
  const snippets = allPages()
    .filter(({ path }) => /^(README|CONTRIBUTING)\.md$|^docs\/|^packages\/(?!test-kit\/)/.test(path))
    .flatMap(snippetsOf);
  for (const { file, code } of snippets) writeFileSync(join(folder, file), code);

  it('is found where it is promised', () => {
    expect(new Set(snippets.map(({ page }) => page))).toEqual(
      expect.objectContaining(new Set(['README.md', 'docs/adapters.md', 'docs/stores.md', 'docs/errors.md'])),
    );
  });

  it('type-checks against the packages', { timeout: 120_000 }, () => {
    expect(located(compile(snippets.map(({ file }) => file)), snippets)).toEqual([]);
  });

  it('is told by page and line where it does not', { timeout: 120_000 }, () => {
    const wrong = { page: 'docs/x.md', line: 10, file: 'wrong.mts', code: '' };
    writeFileSync(
      join(folder, wrong.file),
      "import { createProxyCache } from '@proxycache/core';\ncreateProxyCache({ upstream: [] });\n",
    );
    expect(located(compile([wrong.file]), [wrong])).toEqual([
      expect.stringMatching(/^docs\/x\.md:11: error TS\d+: .*'upstream'/),
    ]);
  });
});
