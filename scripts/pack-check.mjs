// Packs every public package as it would be published and checks the tarballs: publint, how ESM consumers resolve the
// types, and that nothing in them belongs to the workspace alone.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
// Absolute: pnpm takes a relative destination from the workspace's root in some versions, from the package in others.
const destination = join(root, '.pack');

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', cwd: root });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}\n${stdout ?? ''}${stderr ?? ''}${error ?? ''}`);
  return stdout;
}

const tool = (name) => join(root, 'node_modules', '.bin', name);

/** What types are imported from that need not be installed: who does without an optional peer could not compile. */
function strangersOf(
  directory,
  file,
  { name: own, dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} },
) {
  const isThere = (name) =>
    name === own || name in dependencies || (name in peerDependencies && !peerDependenciesMeta[name]?.optional);
  const text = readFileSync(join(root, directory, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  return [...text.matchAll(/(?:\bfrom |\bimport\()['"]((?:@[\w-]+\/)?[\w-][\w.-]*(?::[\w/]+)?)(?:\/[^'"]*)?['"]/g)]
    .map(([, name]) => name)
    .filter((name) => !name.startsWith('node:') && !isThere(name))
    .map((name) => `${file} has types of ${name}, which may not be installed`);
}

/** What a tarball must not hold, as sentences. */
function complaints(directory, files, manifest) {
  const found = [];
  for (const file of files) {
    if (/\.test\.|\.tsbuildinfo$/.test(file)) found.push(`${file} is published`);
    const source = /^dist\/(.*)\.js$/.exec(file)?.[1];
    if (source !== undefined && !existsSync(join(root, directory, 'src', `${source}.ts`))) {
      found.push(`${file} has no source any more: npm run clean && npm run build`);
    }
  }
  if (!files.includes('LICENSE')) found.push('LICENSE is missing');
  if (!files.includes('README.md')) found.push('README.md is missing');
  for (const file of files.filter((name) => name.endsWith('.d.ts')))
    found.push(...strangersOf(directory, file, manifest));
  for (const field of ['dependencies', 'peerDependencies', 'optionalDependencies']) {
    for (const [name, range] of Object.entries(manifest[field] ?? {})) {
      if (/^(workspace|catalog|link|file):/.test(range)) found.push(`${field}.${name} is ${range}`);
    }
  }
  return found;
}

function check({ directory, name }) {
  const pnpm = fileURLToPath(new URL('./pnpm.mjs', import.meta.url));
  const packed = run(process.execPath, [pnpm, '--filter', name, 'pack', '--pack-destination', destination, '--json']);
  const { filename, files } = JSON.parse(packed.slice(packed.indexOf('{')));
  const manifest = JSON.parse(run('tar', ['-xzOf', filename, 'package/package.json']));
  const paths = files.map((file) => file.path);
  const found = complaints(directory, paths, manifest);
  if (found.length > 0) throw new Error(found.join('\n'));
  // Given a tarball, neither tool runs a package manager or asks a registry.
  run(tool('publint'), ['run', filename, '--strict']);
  run(tool('attw'), [filename, '--profile', 'esm-only', '--no-definitely-typed', '--no-emoji']);
  console.log(`${name}: ${paths.length} files, publint and types are fine`);
}

rmSync(destination, { recursive: true, force: true });
mkdirSync(destination, { recursive: true });
const all = readdirSync(join(root, 'packages')).flatMap((folder) => {
  const directory = join('packages', folder);
  const { name, private: isPrivate } = JSON.parse(readFileSync(join(root, directory, 'package.json'), 'utf8'));
  return isPrivate ? [] : [{ directory, name }];
});
for (const one of all) {
  try {
    check(one);
  } catch (error) {
    console.error(`${one.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
