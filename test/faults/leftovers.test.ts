import fs from 'node:fs';
import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';
import { afterEach, expect, test, vi } from 'vitest';
import { startPair } from '../semantics/cache-under-test.ts';
import { pullImage } from '../semantics/pull-image.ts';

afterEach(() => void vi.restoreAllMocks());

test('what a dead process left, and nobody here can remove, kept the cache from starting', async () => {
  const first = await startPair();
  const { directory } = first.cache;
  const [owner] = fs.readdirSync(join(directory, 'spool'));
  // The same process id, of a process that started earlier.
  const dead = owner!.replace(/\d+$/, (startedAt) => `${Number(startedAt) - 1}`);
  const [spooled, written] = [join(directory, 'spool', dead), join(directory, 'tmp', `${dead}.abc0`)];
  // No folder: it cannot be read as one.
  fs.writeFileSync(spooled, 'left');
  fs.writeFileSync(written, 'left');
  const { rmSync } = fs;
  vi.spyOn(fs, 'rmSync').mockImplementation((path, options) => {
    if (path === written) throw Object.assign(new Error(`EPERM: unlink '${written}'`), { code: 'EPERM' });
    rmSync(path, options);
  });

  const { upstream, cache } = await startPair({ cache: { storage: fileStorage(directory) } });
  upstream.addImage('app', { tag: '1' });
  expect((await pullImage(cache, { path: '/v2/up/app', tag: '1' })).status).toBe(200);
  expect(cache.seen('warning').map(({ message }) => message)).toEqual([
    expect.stringContaining(spooled),
    expect.stringContaining(written),
  ]);
  expect([spooled, written].every((path) => fs.existsSync(path))).toBe(true);
});
