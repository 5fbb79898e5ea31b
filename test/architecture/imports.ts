import { posix } from 'node:path';
import { isTest, place, type SourceFile, walk } from './source-file.ts';

/** Core's files and folders from the top down: each imports only from itself and from what stands below it. */
export const layers: readonly string[] = [
  'index.ts',
  'cluster.ts',
  'proxycache-thread.ts',
  'proxy-cache.ts',
  'from-code.ts',
  'what-to-purge.ts',
  'cache-interface.ts',
  'upstream-checks.ts',
  'close-cache.ts',
  'offload.ts',
  'admit-clients.ts',
  'share-transfers.ts',
  'roster-of.ts',
  'callers-of.ts',
  'check-options.ts',
  'hooks-of.ts',
  'options.ts',
  'observers.ts',
  'events.ts',
  'http',
  'access',
  'group',
  'roster',
  'layout',
  'pull',
  'admission',
  'retention',
  'catalog',
  'ingest',
  'freshness',
  'upstream',
  'store',
  'oci',
  'runtime',
];

const coreRoot = 'packages/core/src/';
const corePackages = ['undici', 'lru-cache', 'keyv', 'picomatch'];

/** One import or re-export, of values or of types, static or dynamic. */
interface ImportFact {
  from: string;
  at: string;
  specifier: string;
  /** The file meant, for a relative import. */
  target?: string;
}

/** The imports of every file that is no test. */
function importsOf(files: readonly SourceFile[]): ImportFact[] {
  const found: ImportFact[] = [];
  for (const file of files) {
    if (isTest(file)) continue;
    walk(file, (node) => {
      if (!('source' in node) || typeof node.source !== 'object' || node.source?.type !== 'Literal') return;
      const specifier = String(node.source.value);
      const target = specifier.startsWith('.') ? posix.join(posix.dirname(file.path), specifier) : undefined;
      found.push({ from: file.path, at: place(file, node), specifier, ...(target && { target }) });
    });
  }
  return found;
}

/** Imports inside core that do not point to the own folder or down, and files that belong to no layer. */
export function upwardImports(files: readonly SourceFile[]): string[] {
  const broken: string[] = [];
  for (const { path } of files.filter((file) => !isTest(file))) {
    if (layerOf(path) < 0) broken.push(`${path}: its place is not among the folders of DESIGN.md section 1`);
  }
  for (const { from, at, target } of importsOf(files)) {
    if (target === undefined || layerOf(from) < 0) continue;
    if (layerOf(target) < layerOf(from)) broken.push(`${at}: imports up, from ${target}`);
  }
  return broken;
}

function layerOf(path: string): number {
  const [first = ''] = path.startsWith(coreRoot) ? path.slice(coreRoot.length).split('/') : [];
  return layers.indexOf(first);
}

/** Imports of core that are neither its own files, nor Node's, nor one of the packages it may have. */
export function foreignImports(files: readonly SourceFile[]): string[] {
  return importsOf(files)
    .filter(({ target }) => target === undefined)
    .filter(({ specifier }) => !specifier.startsWith('node:') && !corePackages.includes(specifier))
    .map(({ at, specifier }) => `${at}: imports ${specifier}`);
}

/** Rings of files that import one another, types included, each told once. */
export function importCycles(files: readonly SourceFile[]): string[] {
  const edges = new Map<string, string[]>();
  for (const { from, target } of importsOf(files)) {
    if (target !== undefined) edges.set(from, [...(edges.get(from) ?? []), target]);
  }
  const cycles: string[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  function follow(file: string): void {
    const start = path.indexOf(file);
    if (start >= 0) return void cycles.push([...path.slice(start), file].join(' -> '));
    if (done.has(file)) return;
    path.push(file);
    for (const next of edges.get(file) ?? []) follow(next);
    path.pop();
    done.add(file);
  }
  for (const file of edges.keys()) follow(file);
  return cycles;
}
