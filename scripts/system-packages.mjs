// Installs the Debian packages that the benchmark needs, and the tests with real registries, clients and stores, where it
// may: as root on a machine with apt. Elsewhere it says what would enable those tests, and the run goes on without them.
import { spawnSync } from 'node:child_process';

const forBench = [
  'docker-registry', // the registry that is pulled through, and measured against
  'nginx-light',
  'gcc', // images that run, and load clients, are compiled
  'libc6-dev',
  'wrk',
  'apache2-utils',
];
const forTests = [
  ...forBench,
  'skopeo',
  'podman',
  'containerd',
  'docker.io',
  'runc',
  'crun',
  'golang-github-containers-common', // the policy that podman and skopeo need
  'iproute2', // network namespaces: hosts of the tests' own
  'jq',
  'zstd',
  'openssl',
  'redis-server',
  'redis-tools',
  'postgresql', // metadata in a database by a Keyv
  'prometheus', // reads the metrics; promtool
];
const [who, packages] = process.argv[2] === 'bench' ? ['the benchmark', forBench] : ['the tests', forTests];
const inCi = process.env['CI'] === 'true';

const has = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

function isInstalled(name) {
  const { status, stdout } = spawnSync('dpkg-query', ['-W', '-f=${db:Status-Status}', name], { encoding: 'utf8' });
  return status === 0 && stdout === 'installed';
}

/** Runs apt-get, waiting for another apt that runs. Its output goes to stderr, out of the tests' way. */
function aptGet(...args) {
  const command = ['-q', '-o', 'DPkg::Lock::Timeout=300', ...args];
  // As in single-user mode: no package starts a server of its own, where invoke-rc.d decides.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  return spawnSync('apt-get', command, { stdio: ['ignore', 2, 2], env }).status === 0;
}

/** @returns what stands in the way, or undefined when all is there */
function problem() {
  if (!has('apt-get') || !has('dpkg-query')) {
    return `This machine is no Debian: what of ${who} needs programs that it lacks is skipped. They are in what Debian calls`;
  }
  const missing = packages.filter((name) => !isInstalled(name));
  if (missing.length === 0) return undefined;
  if (process.getuid?.() !== 0) return `What of ${who} needs missing programs is skipped. This enables all of it:`;
  console.error(`Installing for ${who}: ${missing.join(' ')}`);
  // Package lists may be old or not there at all; a failed update is only fatal when the install fails too.
  aptGet('update');
  if (aptGet('install', '-y', '--no-install-recommends', ...missing)) return undefined;
  return `apt-get failed (see above): what of ${who} needs missing programs is skipped. This enables all of it:`;
}

const found = problem();
if (found !== undefined) {
  console.error(`${found}\n  sudo apt-get install --no-install-recommends ${packages.join(' ')}`);
  if (inCi) process.exitCode = 1;
}
