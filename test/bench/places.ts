import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's folder: what runs may be a source file or its built form, which stand at different depths. */
export const root: string = (() => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'pnpm-workspace.yaml'))) folder = dirname(folder);
  return folder;
})();

/** A file of the benchmark that is not compiled with it. */
export function benchFile(path: string): string {
  return join(root, 'test/bench', path);
}
