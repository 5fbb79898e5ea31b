import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createProxyCache, fileStorage } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';
import { expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

const program = fileURLToPath(new URL('../../examples/air-gap/dist/main.js', import.meta.url));

test('examples/air-gap carries images to a cache without an upstream, and says what it could not', async () => {
  const folder = makeTemporaryFolder('air-gap');
  const upstream = await startFakeUpstream();
  onTestFinished(async () => {
    await upstream.stop();
    removeFolder(folder);
  });
  upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
  const run = (...args: string[]) => runCommand({ program: process.execPath, args: [program, ...args], folder });
  const exported = await run(
    ...['export', 'usb', 'own/team/app:1', 'own/team/none:1', '--url', upstream.url],
    ...['--data', 'outside', '--platform', 'linux/arm64'],
  );
  expect([exported.code, exported.stderr]).toEqual([1, '']);
  expect(exported.stdout).toMatch(/^own\/team\/app:1 stored \nown\/team\/none:1 failed .+\n$/);
  const imported = await run('import', 'usb', '--data', 'inside', '--url', upstream.url);
  expect([imported.code, imported.stdout]).toEqual([0, 'own/team/app:1 imported \n']);
  await upstream.stop();
  const cache = createProxyCache({
    upstreams: [{ key: 'own', url: upstream.url, mode: 'offline' }],
    storage: fileStorage(join(folder, 'inside')),
  });
  expect(await cache.has('own/team/app:1')).toBe(true);
  await cache.close();
  expect((await run('carry')).code).toBe(2);
});
