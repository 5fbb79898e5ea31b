import { execFileSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { runCommand } from './peers/run-command.ts';

/** Where daemons stand on Debian, which is not on everybody's PATH. */
const systemFolders = ['/usr/sbin', '/sbin', '/usr/bin'];

const inCI = () => process.env['CI'] === 'true';

/**
 * Where a program of the system stands. Without it: says aloud what to install and gives `undefined`, for
 * `describe.skipIf`; in CI, where nothing may be skipped, throws.
 */
export function requireProgram(program: string, debianPackage: string = program): string | undefined {
  const found = findProgram(program);
  return found ?? lacking(`${program} is not installed: apt-get install -y --no-install-recommends ${debianPackage}`);
}

/** Where a program stands, if it is there. */
export function findProgram(program: string, besidePath: readonly string[] = systemFolders): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...besidePath]) {
    if (folder === '') continue;
    try {
      accessSync(join(folder, program), constants.X_OK);
      return join(folder, program);
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Whether this process is root, which starting containers and their daemons needs. Without: as {@link requireProgram}. */
export function requireRoot(): true | undefined {
  return process.getuid?.() === 0 ? true : lacking('these tests start containers: run them as root');
}

/** A program of the system, and its version as it says it. */
export interface Program {
  path: string;
  version: string;
}

const goAtLeast = [1, 24] as const;

/** Go, which builds test suites of others. Without: as {@link requireProgram}. */
export async function requireGo(): Promise<Program | undefined> {
  const wanted = `Go ${goAtLeast.join('.')} or newer`;
  const path = findProgram('go', ['/usr/local/go/bin']);
  if (path === undefined) return lacking(`${wanted} is not installed`);
  const { stdout } = await runCommand({ program: path, args: ['version'], env: { GOTOOLCHAIN: 'local' } });
  const [, version = '', major, minor] = /\bgo((\d+)\.(\d+)\S*)/.exec(stdout) ?? [];
  const enough = Number(major) > goAtLeast[0] || (Number(major) === goAtLeast[0] && Number(minor) >= goAtLeast[1]);
  return enough ? { path, version } : lacking(`${wanted} is needed; ${path} is ${version || 'of no known version'}`);
}

/** Whether this process may mount file systems. Without: as {@link requireProgram}. */
export function requireMount(): true | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'proxycache-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'proxycache-test', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return lacking('these tests fill a small disk: run them as root, where tmpfs may be mounted');
  } finally {
    rmdirSync(folder);
  }
}

/** Says aloud what this machine lacks, and gives `undefined`; in CI, where nothing may be skipped, throws. */
export function lacking(reason: string): undefined {
  if (inCI()) throw new Error(reason);
  process.stderr.write(`SKIPPED: ${reason}\n`);
}
