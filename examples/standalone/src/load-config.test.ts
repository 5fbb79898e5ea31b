import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadConfig } from './load-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

test('YAML is read, with variables of the environment put in', () => {
  const file = write('a.yaml', 'listen:\n  port: ${PORT}\nupstreams:\n  - source: ghcr\n    freshFor: 1h\n');
  const { config } = loadConfig(file, { PORT: '8080' });
  expect(config.listen).toEqual({ host: '127.0.0.1', port: 8080 });
  expect(config.upstreams).toEqual([{ source: 'ghcr', freshFor: 3_600_000 }]);
});

test('JSON is read, indented by tabs too', () => {
  const file = write('a.json', JSON.stringify({ listen: { port: 8080 }, trustedProxies: ['::1'] }, null, '\t'));
  expect(loadConfig(file, {}).config).toMatchObject({ listen: { port: 8080 }, trustedProxies: ['::1'] });
});

test('relative paths start from the folder of the file', () => {
  const file = write('a.yaml', '');
  expect(loadConfig(relative(process.cwd(), file), {}).folder).toBe(folder);
});

test('a file that is not there is named', () => {
  const file = join(folder, 'none.yaml');
  expect(() => loadConfig(file, {})).toThrow(`${file}: cannot be read: ENOENT`);
});

test('a wrong value names file, path and value', () => {
  const file = write('wrong.yaml', 'listen: {port: http}');
  expect(() => loadConfig(file, {})).toThrow(
    `${file}: listen.port: expected an integer from 0 to 65535, received "http"`,
  );
});

test('several problems stand on a line each', () => {
  const file = write('wrong.yaml', 'listen: {port: http}\nlog: {level: 1}');
  expect(() => loadConfig(file, {})).toThrow(/^\S+:\n {2}listen\.port: .*\n {2}log\.level: /);
});

describe('what cannot be parsed names line and column, and quotes nothing', () => {
  test.each([
    ['a: 1\na: 271828', 'line 2, column 1: a key that is there already'],
    ['a: "271828', 'line 1, column 11: something is missing: a closing quote'],
    ['a: 1\npassword: !271828', 'line 2, column 11: a tag; put text that starts with "!" in quotes'],
    ['a: 1\npassword: |271828', 'line 2, column 13: this does not belong here; put text that has signs such as |'],
    ['password: >271828', 'line 1, column 13: this does not belong here'],
    ['password: ]271828', 'line 1, column 11: this does not belong here'],
    ['password: %271828', 'line 1, column 11: text that starts with a sign that YAML keeps for itself'],
    ['password: "\\u271"', 'line 1, column 12: a backslash that escapes nothing'],
    ["password: '271828'271828", 'line 1, column 19: this does not belong here'],
    [
      'password: {271828',
      'line 1, column 18: this is indented otherwise than what it belongs to, or a closing bracket',
    ],
    ['password: 271828: 271828', 'line 1, column 11: keys or a list on the line of another key'],
    ['password: !271828 !271828 x', 'line 1, column 19: more than one tag'],
    ['password: &271828 &271828 x', 'line 1, column 19: more than one anchor'],
    ['%271828 x\n---\na: 1', 'line 1, column 1: a directive that YAML does not have'],
    ['a:\n\tb: 271828', 'line 2, column 1: indented by a tab'],
    ['password: *271828', 'an alias cannot be resolved; put text that starts with "*" in quotes'],
    ['{"a": 271828 : 3}', 'line 1, column 7: keys or a list'],
    ['a: 1\n---\nb: 271828', 'line 2, column 1: a second document'],
  ])('%j', (text, message) => {
    const file = write('broken.yaml', text);
    const load = () => loadConfig(file, {});
    expect(load).toThrow(`${file}: ${message}`);
    expect(load).not.toThrow('271828');
  });

  test('aliases that multiply are not followed for ever', () => {
    const level = (name: string, from: string) => `${name}: &${name} [${Array(10).fill(`*${from}`).join(', ')}]\n`;
    const bomb = `a: &a [x, x]\n${level('b', 'a')}${level('c', 'b')}${level('d', 'c')}${level('e', 'd')}`;
    expect(() => loadConfig(write('bomb.yaml', bomb), {})).toThrow('an alias cannot be resolved');
  });
});
