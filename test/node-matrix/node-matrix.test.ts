import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = (file: string) =>
  promisify(execFile)(process.execPath, [fileURLToPath(new URL(file, import.meta.url))], { timeout: 15_000 });

// `npm run matrix` does the same on the oldest Node that is supported and on each later major version.
test('the built packages pull an image through an ES module', async () => {
  const { stdout } = await run('./smoke.mjs');
  expect(stdout).toContain('an ES module pulls through node-http');
});

test('the built packages pull an image through CommonJS hosts that import them', async () => {
  const { stdout } = await run('./smoke.cjs');
  expect(stdout.match(/pulls through (.*)/g)).toEqual([
    'pulls through node-http',
    'pulls through Express',
    'pulls through Koa',
  ]);
});
