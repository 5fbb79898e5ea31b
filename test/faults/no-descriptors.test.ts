import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runOk } from '../peers/run-command.ts';

test('a process without a free file descriptor refuses what needs a credential of a program, and goes on', async () => {
  const script = fileURLToPath(new URL('./no-descriptors.mjs', import.meta.url));
  const limited = 'ulimit -n 256; exec "$0" "$1"';
  const { stdout } = await runOk({ program: 'sh', args: ['-c', limited, process.execPath, script] });
  expect(JSON.parse(stdout)).toEqual({ code: 'EMFILE', status: 502, reason: 'token-failed' });
});
