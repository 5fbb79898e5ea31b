// After `changeset version`: writes core's new version where the program reads it (its User-Agent), and into the lockfile.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const core = new URL('../packages/core/', import.meta.url);
const { version } = JSON.parse(readFileSync(new URL('package.json', core), 'utf8'));
const file = new URL('src/runtime/version.ts', core);
writeFileSync(file, readFileSync(file, 'utf8').replace(/'[^']*';/, `'${version}';`));

const pnpm = fileURLToPath(new URL('./pnpm.mjs', import.meta.url));
const { status } = spawnSync(process.execPath, [pnpm, 'install', '--lockfile-only'], { stdio: 'inherit' });
process.exit(status ?? 1);
