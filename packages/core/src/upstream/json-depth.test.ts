import { describe, expect, it } from 'vitest';
import { isTooDeep } from './json-depth.ts';

const tooDeep = (text: string) => isTooDeep(new TextEncoder().encode(text));

describe('isTooDeep', () => {
  it.each([
    ['lists', '['.repeat(64) + ']'.repeat(64), false],
    ['more lists', '['.repeat(65) + ']'.repeat(65), true],
    ['objects', `${'{"a":'.repeat(65)}1${'}'.repeat(65)}`, true],
    ['many beside each other', `[${'[],'.repeat(1_000)}[]]`, false],
    ['brackets in a text', JSON.stringify(['['.repeat(100)]), false],
    ['brackets behind an escaped quote', JSON.stringify([`"${'{'.repeat(100)}`]), false],
    ['brackets behind a text that ends in a backslash', `["a\\\\",${'['.repeat(64)}`, true],
    ['what has no end', '['.repeat(1_000_000), true],
    ['nothing', '', false],
  ])('tells of %s', (_what, text, expected) => {
    expect(tooDeep(text)).toBe(expected);
  });
});
