import picomatch from 'picomatch';
import { expectEach } from './expect-option.ts';

// Names are no paths of a file system: a dot is as good as any letter, a backslash separates nothing.
const options = { dot: true, nonegate: true, strictBrackets: true, windows: false } as const;

const longestPattern = 255;

/**
 * Finds the first pattern that a name matches: `*` is anything but a slash, `**` anything, `{a,b}` either of two
 * (picomatch's globs).
 */
export function matchingPattern(patterns: readonly string[]): (name: string) => string | undefined {
  const tests = patterns.map((pattern) => ({ pattern, matches: matcherOf(pattern) }));
  return (name) => tests.find(({ matches }) => matches(name))?.pattern;
}

// A path never has a component `.` or `..` for picomatch; a name may, and anything is anything.
const matcherOf = (pattern: string) => (pattern === '**' ? () => true : picomatch(pattern, options));

/** @throws ProxyCacheError `invalid-options` for what is no list of patterns, also of a caller without types */
export function expectPatterns(path: string, value: unknown): void {
  expectEach(path, value, { is: 'a pattern such as "library/*", without "!"', test: isPattern });
}

function isPattern(text: string): boolean {
  if (text === '' || text.length > longestPattern || text.startsWith('!')) return false;
  try {
    picomatch(text, options);
    return true;
  } catch {
    return false;
  }
}
