// Builds the S3 server that the tests of @proxycache/s3 run against, where Go is: once, some two minutes, into
// node_modules/.cache. Elsewhere it says what would enable those tests, and the run goes on without them.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Versity's S3 gateway over a folder, and the hash of its content as Go reckons it (`go.sum`).
const gateway = {
  module: 'github.com/versity/versitygw@v1.8.0',
  sum: 'h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=',
};
const folder = fileURLToPath(new URL('../node_modules/.cache/s3-gateway/', import.meta.url));
const program = `${folder}versitygw`;
const stamp = `${folder}built-of`;
// No other toolchain is fetched, and the gateway's own go.sum holds.
const env = { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly' };

function isBuilt() {
  return existsSync(program) && existsSync(stamp) && readFileSync(stamp, 'utf8') === gateway.sum;
}

function findGo() {
  const places = ['go', '/usr/local/go/bin/go'];
  return places.find((place) => spawnSync(place, ['version'], { stdio: 'ignore' }).status === 0);
}

/** @returns what stands in the way, or undefined when it is there */
function problem() {
  if (isBuilt()) return undefined;
  const go = findGo();
  if (go === undefined) return 'Go is not installed';
  const download = spawnSync(go, ['mod', 'download', '-json', gateway.module], { env, encoding: 'utf8' });
  if (download.status !== 0) return `Go cannot download ${gateway.module}: ${download.stderr}${download.stdout}`;
  const { Dir: source, Sum: sum } = JSON.parse(download.stdout);
  if (sum !== gateway.sum) return `${gateway.module} has the hash ${sum}, expected ${gateway.sum}`;
  console.error(`Building ${gateway.module} for the tests with S3`);
  mkdirSync(folder, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const build = ['build', '-buildvcs=false', '-ldflags=-s -w', '-o', unfinished, './cmd/versitygw'];
  if (spawnSync(go, build, { cwd: source, env, stdio: ['ignore', 2, 2] }).status !== 0) return 'its build failed';
  renameSync(unfinished, program);
  writeFileSync(stamp, gateway.sum);
  return undefined;
}

const found = problem();
if (found !== undefined) {
  console.error(`The tests with the S3 server ${gateway.module} are skipped: ${found}`);
  if (process.env['CI'] === 'true') process.exitCode = 1;
}
