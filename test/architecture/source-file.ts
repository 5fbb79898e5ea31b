import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Node, parseSync } from 'oxc-parser';

/** A file of the repository: `path` from its top. */
export interface SourceFile {
  path: string;
  text: string;
}

export type { Node };

/** The top of the repository. */
export const top: string = fileURLToPath(new URL('../..', import.meta.url));

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'type' in value;

/** Reads the TypeScript files below a folder of the repository, those that are built or installed left out. */
export function readSources(folder: string): SourceFile[] {
  const found: SourceFile[] = [];
  const entries = readdirSync(`${top}/${folder}`, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = `${folder}/${entry.name}`;
    // A symbolic link is no directory here: the links of an installation lead in rings.
    if (entry.isDirectory() && entry.name !== 'node_modules' && entry.name !== 'dist') found.push(...readSources(path));
    if (entry.isFile() && path.endsWith('.ts')) found.push({ path, text: readFileSync(`${top}/${path}`, 'utf8') });
  }
  return found;
}

export const isTest = ({ path }: SourceFile): boolean => path.endsWith('.test.ts');

/** Calls `visit` with each node of the file and its ancestors, the nearest last. */
export function walk(file: SourceFile, visit: (node: Node, ancestors: readonly Node[]) => void): void {
  const { program, errors } = parseSync(file.path, file.text);
  if (errors.length > 0) throw new Error(`${file.path}: ${errors[0]?.message}`);
  const ancestors: Node[] = [];
  function enter(node: Node): void {
    visit(node, ancestors);
    ancestors.push(node);
    for (const value of Object.values(node)) {
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) enter(child);
    }
    ancestors.pop();
  }
  enter(program);
}

/** `path:line` of a node. */
export function place({ path, text }: SourceFile, node: Node): string {
  return `${path}:${text.slice(0, node.start).split('\n').length}`;
}
