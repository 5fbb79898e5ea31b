import { createProxyCache, fileStorage, isProxyCacheError, localCoordinator } from '@proxycache/core';
import { expect, onTestFinished, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

const waiting = { timeout: 60_000, interval: 20 };

test('of two who share a folder and add one key at once, one is told that it is there, and both have the same', async () => {
  const folder = makeTemporaryFolder('upstreams');
  const coordinator = localCoordinator();
  const caches = [1, 2].map(() =>
    createProxyCache({
      upstreams: [],
      storage: { ...fileStorage(folder), coordinator },
      persistUpstreams: { refreshEvery: '1h' },
    }),
  );
  onTestFinished(async () => {
    await Promise.all(caches.map((cache) => cache.close({ graceMs: 0 })));
    removeFolder(folder);
  });
  for (const key of ['one', 'two', 'three', 'four', 'five']) {
    const codes = await Promise.all(
      caches.map(({ upstreams }, index) =>
        upstreams.add({ key, url: `https://r${index}.example` }).then(
          () => 'done',
          (error) => (isProxyCacheError(error) ? error.code : error),
        ),
      ),
    );
    expect([...codes].sort()).toEqual(['done', 'upstream-exists']);
    const url = `https://r${codes.indexOf('done')}.example`;
    for (const { upstreams } of caches) {
      await expect.poll(() => upstreams.list().find((one) => one.key === key)?.url, waiting).toBe(url);
    }
  }
});
