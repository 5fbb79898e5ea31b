// Runs the pnpm that package.json pins, through npx, so that Node and npm are all a newcomer needs.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const { packageManager } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const { status } = spawnSync('npx', ['--yes', packageManager, ...process.argv.slice(2)], { stdio: 'inherit' });
process.exit(status ?? 1);
