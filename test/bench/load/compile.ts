import { join } from 'node:path';
import { runCommand } from '../../peers/run-command.ts';
import { benchFile } from '../places.ts';

/**
 * Compiles one of the benchmark's C programs into a folder. @returns its path
 *
 * @throws Error that says what to install
 */
export async function compile(source: string, folder: string): Promise<string> {
  const name = source.slice(source.lastIndexOf('/') + 1).replace(/\.c$/, '');
  const program = join(folder, name);
  const args = ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, benchFile(source)];
  const { code, stderr } = await runCommand({ program: 'cc', args }).catch((error: NodeJS.ErrnoException) => {
    const hint = 'the benchmark compiles its load client: apt-get install -y --no-install-recommends gcc libc6-dev';
    throw error.code === 'ENOENT' ? new Error(`cc is not installed; ${hint}`) : error;
  });
  if (code !== 0) throw new Error(`${source} does not compile:\n${stderr}`);
  return program;
}
