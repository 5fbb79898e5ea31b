import { startFakeUpstream } from '@proxycache/test-kit';
import { expect, onTestFinished, test } from 'vitest';
import { readPage } from '../docs/markdown.ts';
import { startAdmin } from './admin-under-test.ts';

/** The words of a line as a shell reads them, as far as these lines go. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  );
}

/** What curl sends for a line. */
function askedBy(line: string) {
  const [, ...given] = words(line);
  const headers: Record<string, string> = {};
  let [method, body, url]: [string | undefined, string | undefined, string] = [undefined, undefined, ''];
  for (let index = 0; index < given.length; index++) {
    const word = given[index] ?? '';
    if (word === '-i') continue;
    if (!['-H', '-d', '-X'].includes(word)) {
      url = word;
      continue;
    }
    const value = given[++index] ?? '';
    if (word === '-X') method = value;
    else if (word === '-d') body = value;
    else headers[value.split(': ', 1)[0]?.toLowerCase() ?? ''] = value.slice(value.indexOf(': ') + 2);
  }
  return { path: url.replace('$at', ''), method: method ?? (body === undefined ? 'GET' : 'POST'), headers, body };
}

test('each line of the page for a shell is answered well, in their order', async () => {
  const upstream = await startFakeUpstream();
  onTestFinished(() => upstream.stop());
  upstream.addImage('library/alpine', { tag: '3', platforms: ['linux/amd64'] });
  const { ask } = await startAdmin({}, { upstreams: [{ key: 'docker-hub', url: upstream.url }] });
  const { text } = readPage('docs/admin.md');
  const lines = text.split('\n').filter((line) => /^curl .*"\$at\//.test(line));
  expect(lines.length).toBeGreaterThan(8);
  for (const line of lines) {
    const { path, ...asking } = askedBy(line.replace('https://registry.lab.example', upstream.url));
    const told = await ask(path, asking);
    expect([line, told.status]).toEqual([line, expect.toSatisfy((status: number) => status >= 200 && status < 300)]);
  }
});
