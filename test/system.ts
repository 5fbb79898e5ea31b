import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where daemons stand on Debian, which is not on everybody's PATH. */
const systemFolders = ['/usr/sbin', '/sbin', '/usr/bin'];

const inCI = () => process.env['CI'] === 'true';

/**
 * Where a program of the system stands. Without it: says aloud what to install and gives `undefined`, for
 * `describe.skipIf`; in CI, where nothing may be skipped, throws.
 */
export function requireProgram(program: string, debianPackage: string = program): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...systemFolders]) {
    if (folder === '') continue;
    try {
      accessSync(join(folder, program), constants.X_OK);
      return join(folder, program);
    } catch {
      // Not in this folder.
    }
  }
  return lacking(`${program} is not installed: apt-get install -y --no-install-recommends ${debianPackage}`);
}

/** Whether this process is root, which starting containers and their daemons needs. Without: as {@link requireProgram}. */
export function requireRoot(): true | undefined {
  return process.getuid?.() === 0 ? true : lacking('these tests start containers: run them as root');
}

function lacking(reason: string): undefined {
  if (inCI()) throw new Error(reason);
  process.stderr.write(`SKIPPED: ${reason}\n`);
}
