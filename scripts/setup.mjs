// Installs the workspace, unless what is installed already matches the lockfile (pnpm keeps a copy of it), so that a
// second `npm start` needs no network.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const read = (path) => {
  try {
    return readFileSync(new URL(path, import.meta.url), 'utf8');
  } catch {
    return undefined;
  }
};

const wanted = read('../pnpm-lock.yaml');
if (wanted === undefined || wanted !== read('../node_modules/.pnpm/lock.yaml')) {
  const pnpm = fileURLToPath(new URL('./pnpm.mjs', import.meta.url));
  const { status } = spawnSync(process.execPath, [pnpm, 'install', '--frozen-lockfile'], { stdio: 'inherit' });
  process.exit(status ?? 1);
}
