import { requireProgram } from '../system.ts';
import type { Tools } from './bench.ts';
import { compile } from './load/compile.ts';

/** Finds the programs that the benchmark runs, and compiles its own into a folder. @throws Error that names what lacks */
export async function findTools(folder: string): Promise<Tools> {
  return {
    drain: await compile('load/drain.c', folder),
    link: await compile('load/link.c', folder),
    nginx: needed('nginx', 'nginx-light'),
    wrk: needed('wrk', 'wrk'),
    ab: needed('ab', 'apache2-utils'),
  };
}

function needed(program: string, debianPackage: string): string {
  const path = requireProgram(program, debianPackage);
  if (path === undefined) throw new Error(`the benchmark needs ${program}`);
  return path;
}
