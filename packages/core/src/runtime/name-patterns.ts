import picomatch from 'picomatch';
import { expectEach, invalidOption } from './expect-option.ts';

// Names are no paths of a file system: a dot is as good as any letter, a backslash separates nothing.
const options = { dot: true, nonegate: true, strictBrackets: true, windows: false } as const;

const longestPattern = 255;
const mostWildcards = 3;
const wholeComponent = /(?<=^|[/{,])\*(?=$|[/},])/g;

/**
 * Finds the first pattern that a name matches: `*` is anything but a slash, `**` between slashes anything, `{a,b}` either
 * of two (picomatch's globs).
 */
export function matchingPattern(patterns: readonly string[]): (name: string) => string | undefined {
  const tests = patterns.map((pattern) => ({ pattern, matches: matcherOf(pattern) }));
  return (name) => tests.find(({ matches }) => matches(name))?.pattern;
}

// A path never has a component `.` or `..` for picomatch; a name may, and anything is anything.
const matcherOf = (pattern: string) => (pattern === '**' ? () => true : picomatch(pattern, options));

/** @throws ProxyCacheError `invalid-options` for what is no list of patterns, also of a caller without types */
export function expectPatterns(path: string, value: unknown): void {
  expectEach(path, value, { is: pattern, test: (text) => text !== '' && text.length <= longestPattern });
  for (const [index, text] of ((value ?? []) as readonly string[]).entries()) {
    const fault = faultOf(text);
    if (fault !== undefined) throw invalidOption(`${path}[${index}]`, `${pattern}, ${fault}`, text);
  }
}

const pattern = 'a pattern such as "library/*"';

/**
 * What picomatch takes for something that nobody meant, and matches less by it than is said; or takes long for: its time
 * grows with the length of a client's name to the power of the `*` that share a component.
 */
function faultOf(text: string): string | undefined {
  if (text.startsWith('!')) return 'without "!"';
  if (/[()]/.test(text)) return 'without parentheses: {a,b} is either of two';
  if (/^\/|\/$/.test(text)) return 'without a slash at its start or end: "team/**" is all below team';
  if (/[^/{,]\*\*|\*\*[^/},]/.test(text)) return 'with "**" alone between slashes: "team-*/**"';
  if (/\{[^{},]*\}/.test(text)) return 'with two or more between braces: {a,b}';
  if (text.replaceAll(wholeComponent, '').split(/\*+/).length - 1 > mostWildcards) {
    return `with at most ${mostWildcards} of "*" and "**", but for "*" alone between slashes`;
  }
  try {
    picomatch(text, options);
    return undefined;
  } catch {
    return 'with each bracket closed';
  }
}
