import { requireProgram } from '../system.ts';
import type { Tools } from './bench.ts';
import { compile } from './load/compile.ts';
import type { OriginKind } from './options.ts';
import { startNginxOrigin } from './origin/nginx-origin.ts';
import type { StartOrigin } from './origin/origin.ts';
import { startRegistryOrigin } from './origin/registry-origin.ts';

/** Finds the programs that the benchmark runs, and compiles its own into a folder. @throws Error that names what lacks */
export async function findTools(folder: string): Promise<Tools> {
  return {
    drain: await compile('load/drain.c', folder),
    link: await compile('load/link.c', folder),
    wrk: needed('wrk', 'wrk'),
    ab: needed('ab', 'apache2-utils'),
  };
}

/** The upstream of this kind. @throws Error that names what lacks */
export function originOf(kind: OriginKind): StartOrigin {
  if (kind === 'nginx') {
    const nginx = needed('nginx', 'nginx-light');
    return (content, folder) => startNginxOrigin(nginx, content, folder);
  }
  const registry = needed('docker-registry', 'docker-registry');
  return (content, folder) => startRegistryOrigin(registry, content, folder);
}

function needed(program: string, debianPackage: string): string {
  const path = requireProgram(program, debianPackage);
  if (path === undefined) throw new Error(`the benchmark needs ${program}`);
  return path;
}
