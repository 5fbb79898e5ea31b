import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createProxyCache, memoryStorage, type ProxyCache } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { type FakeUpstream, sha256, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runShell } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireProgram } from '../system.ts';

// Processes of a client on a machine that is busy with other tests.
vi.setConfig({ testTimeout: 60_000 });

describe.skipIf(requireProgram('skopeo') === undefined)('skopeo, by the key of a group', () => {
  let corp: FakeUpstream;
  let hub: FakeUpstream;
  let cache: ProxyCache;
  let server: Server;
  let folder: string;

  beforeAll(async () => {
    folder = makeTemporaryFolder('groups');
    [corp, hub] = await Promise.all([startFakeUpstream(), startFakeUpstream()]);
    cache = createProxyCache({
      upstreams: [
        { key: 'corp', url: corp.url, retry: { attempts: 1 } },
        { key: 'hub', url: hub.url },
      ],
      groups: [{ key: 'all', upstreams: ['corp', 'hub'] }],
      storage: memoryStorage(),
    });
    server = createServer(createNodeHandler(cache));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    server?.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
    await cache?.close();
    await Promise.all([corp?.stop(), hub?.stop()]);
    removeFolder(folder);
  });

  let copies = 0;
  /** The digest of what it copied, all of its platforms. */
  async function copy(name: string): Promise<string> {
    const target = join(folder, String(++copies));
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    await runShell(`skopeo copy --all --src-tls-verify=false docker://${host}/all/${name} dir:${target}`, {
      env: { PATH: process.env['PATH'] ?? '', HOME: folder },
      folder,
    });
    return sha256(readFileSync(join(target, 'manifest.json')));
  }

  const platforms = ['linux/amd64', 'linux/arm64'];

  test('copies each image from the member that has it', async () => {
    const own = corp.addImage('team/app', { tag: '1', seed: 'corp', platforms });
    hub.addImage('team/app', { tag: '1', seed: 'impostor', platforms });
    const alpine = hub.addImage('library/alpine', { tag: '3', platforms });
    expect(await copy('team/app:1')).toBe(own.root.digest);
    expect(await copy('library/alpine:3')).toBe(alpine.root.digest);
    expect(await copy(`library/alpine@${alpine.root.digest}`)).toBe(alpine.root.digest);
    expect(hub.count({ path: /team\/app/ })).toBe(0);
  });

  test('gets no public image in place of a private one, while that registry is down or lacks the tag', async () => {
    hub.addImage('team/app', { tag: '2', seed: 'impostor of a tag', platforms });
    hub.addImage('team/new', { tag: '1', seed: 'impostor of a name', platforms });
    hub.clear();
    await expect(copy('team/app:2')).rejects.toThrow(/manifest unknown|404/i);
    await corp.stop();
    await expect(copy('team/app:2')).rejects.toThrow(/502|503|unavailable|could not|corp/i);
    await expect(copy('team/new:1')).rejects.toThrow(/502|503|unavailable|could not|corp/i);
    expect(hub.requests).toEqual([]);
  });
});
