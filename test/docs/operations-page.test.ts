import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { codeWords, readPage, root, tableRows } from './markdown.ts';

const page = readPage('docs/operations.md').text;
const configuration = readPage('docs/configuration.md').text;
const core = join(root, 'packages/core/src');
const read = (file: string) => readFileSync(join(core, file), 'utf8');
const eventSources = readdirSync(core, { recursive: true, encoding: 'utf8' })
  .filter((file) => /(^|\/)events\.ts$/.test(file))
  .map(read)
  .join('\n');
const eventTypes = [...eventSources.matchAll(/\btype: '([a-z-]+)'/g)].map(([, type = '']) => type);
/** Everything that an event's field may say. */
const saidInEvents = [eventSources, read('upstream/upstream-error.ts'), read('runtime/errors.ts')].join('\n');

const rowsOf = (title: string) => tableRows(page.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? '');

test('the table of events has each event that an observer is told, once', () => {
  expect(eventTypes.length).toBeGreaterThan(10);
  const told = rowsOf('Events').map(([name = '']) => codeWords(name)[0]);
  expect([...told].sort()).toEqual([...new Set(eventTypes)].sort());
});

describe.each(rowsOf('Faults'))('%s', (_fault, _seen, events = '', options = '') => {
  test('is told by events that there are', () => {
    for (const word of codeWords(events)) expect(saidInEvents).toContain(`'${word}'`);
  });

  test('is changed by options that there are', () => {
    for (const option of codeWords(options)) {
      if (option.endsWith('()')) continue;
      expect(configuration).toMatch(new RegExp(`[\`.]${option.replaceAll('.', '\\.')}[\`.]`));
    }
  });
});
