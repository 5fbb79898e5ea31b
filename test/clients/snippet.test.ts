import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readPage } from '../docs/markdown.ts';
import { documentedSnippets } from './snippet.ts';

const here = new URL('.', import.meta.url);
const sources = readdirSync(here)
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(new URL(name, here), 'utf8'))
  .join('\n');

/** The paragraph above a snippet. */
function paragraphAbove(line: number): string {
  const above = readPage('docs/clients.md')
    .text.split('\n')
    .slice(0, line - 2);
  return above.join('\n').trim().split('\n\n').at(-1) ?? '';
}

describe('docs/clients.md', () => {
  it.each(documentedSnippets().map(({ info, line }) => [line, info] as const))(
    'has its snippet at line %i run by a test here (%s), or says that it is not',
    (line, info) => {
      // A path may stand in the source with a folder's name put in.
      const isUsed = info !== '' && sources.includes(info.replace(/^\w+=(\/etc\/containerd\/certs\.d)?/, ''));
      expect(isUsed).toBe(!/not run here/.test(paragraphAbove(line)));
    },
  );
});
