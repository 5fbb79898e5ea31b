import { isTest, type Node, place, type SourceFile, walk } from './source-file.ts';

/** The one file of core that reads the machine's time and sets its timers; all others are given a `Clock`. */
const clockFile = 'packages/core/src/runtime/clock.ts';

const ofTheClock = ['Date.now', 'new Date()', 'performance.now', 'setTimeout', 'setInterval'];

/** Files over the limit of lines. Tests are not counted: a table of cases is long, not hard to read. */
export function longFiles(files: readonly SourceFile[], limit: number): string[] {
  return files.flatMap((file) => {
    const { path, text } = file;
    if (isTest(file)) return [];
    const lines = text.replace(/\n$/, '').split('\n').length;
    return lines > limit ? [`${path}: ${lines} lines, more than ${limit}`] : [];
  });
}

/**
 * What core takes from its surroundings instead of from its options: the environment, the console, the time, timers,
 * and random numbers as names (randomUUID is for that; Math.random is for the jitter of delays only). Allowed: the
 * time and timers in runtime/clock.ts, nothing elsewhere, options.ts included.
 */
export function ambientReads(files: readonly SourceFile[]): string[] {
  const found: string[] = [];
  for (const file of files) {
    if (isTest(file)) continue;
    walk(file, (node, ancestors) => {
      const name = ambientName(node, ancestors);
      if (name === undefined || (file.path === clockFile && ofTheClock.includes(name))) return;
      found.push(`${place(file, node)}: ${name}`);
    });
  }
  return found;
}

function ambientName(node: Node, ancestors: readonly Node[]): string | undefined {
  if (node.type === 'NewExpression' && isNamed(node.callee, 'Date') && node.arguments.length === 0) return 'new Date()';
  if (node.type === 'CallExpression') {
    for (const timer of ['setTimeout', 'setInterval']) if (isNamed(node.callee, timer)) return timer;
  }
  if (node.type !== 'MemberExpression') return undefined;
  if (isNamed(node.object, 'globalThis')) return memberIs(node, ['process', 'console']) && 'globalThis';
  if (isNamed(node.object, 'console')) return 'console';
  if (isNamed(node.object, 'process') && memberIs(node, ['env'])) return 'process.env';
  if (isNamed(node.object, 'Date') && memberIs(node, ['now'])) return 'Date.now';
  if (isNamed(node.object, 'performance') && memberIs(node, ['now'])) return 'performance.now';
  const random = isNamed(node.object, 'Math') && memberIs(node, ['random']);
  return random && ancestors.some(makesText) ? 'Math.random as a name' : undefined;
}

function makesText(node: Node): boolean {
  if (node.type === 'TemplateLiteral') return true;
  if (node.type === 'MemberExpression') return memberIs(node, ['toString', 'toFixed']) !== undefined;
  return node.type === 'CallExpression' && isNamed(node.callee, 'String');
}

function isNamed(node: Node, name: string): boolean {
  return node.type === 'Identifier' && node.name === name;
}

function memberIs(node: Extract<Node, { type: 'MemberExpression' }>, names: readonly string[]): true | undefined {
  const { property } = node;
  const name = property.type === 'Identifier' ? property.name : property.type === 'Literal' ? property.value : '';
  return names.includes(String(name)) || undefined;
}
