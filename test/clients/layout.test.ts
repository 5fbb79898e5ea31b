import { mkdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createProxyCache, memoryStorage, type ProxyCache, type UpstreamOptions } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { type FakeUpstream, sha256, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runShell } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireProgram } from '../system.ts';

const platforms = ['linux/amd64', 'linux/arm64'];

describe.skipIf(requireProgram('skopeo') === undefined)('OCI image layouts and skopeo', () => {
  let upstream: FakeUpstream;
  let folder: string;
  const ending: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    folder = makeTemporaryFolder('layouts');
    upstream = await startFakeUpstream();
  });
  afterAll(async () => {
    for (const end of ending.reverse()) await end();
    await upstream?.stop();
    removeFolder(folder);
  });

  async function start(options: Partial<UpstreamOptions> = {}): Promise<{ cache: ProxyCache; host: string }> {
    const upstreams = [{ key: 'up', url: upstream.url, ...options }];
    const cache = createProxyCache({ upstreams, storage: memoryStorage() });
    const server: Server = createServer(createNodeHandler(cache));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ending.push(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await cache.close();
    });
    return { cache, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

  async function skopeo(args: string): Promise<void> {
    const env = { PATH: process.env['PATH'] ?? '', HOME: folder };
    await runShell(`skopeo ${args}`, { env, folder });
  }

  let copies = 0;
  /** The digest of what it copied. */
  async function copied(source: string, options: string): Promise<string> {
    const target = join(folder, `copy-${++copies}`);
    await skopeo(`copy ${options} --src-tls-verify=false ${source} dir:${target}`);
    return sha256(readFileSync(join(target, 'manifest.json')));
  }

  const made = (name: string) => {
    const directory = join(folder, name);
    mkdirSync(directory);
    return directory;
  };

  test('what a cache exports skopeo copies, whole or for one platform', async () => {
    const { cache } = await start();
    const image = upstream.addImage('team/app', { tag: '1', platforms });
    const alone = upstream.addImage('team/alone', { tag: '1' });
    const whole = made('whole');
    await cache.exportLayout(['up/team/app:1', 'up/team/alone:1'], { directory: whole });
    expect(await copied(`oci:${whole}:up/team/app:1`, '--all')).toBe(image.root.digest);
    expect(await copied(`oci:${whole}:up/team/alone:1`, '')).toBe(alone.root.digest);
    const part = made('part');
    await cache.exportLayout(['up/team/app:1'], { directory: part, platforms: ['linux/arm64'] });
    const digest = await copied(`oci:${part}:up/team/app:1`, '--override-arch arm64 --override-os linux');
    expect(digest).toBe(image.manifests[1]?.digest);
  });

  test('what skopeo made is imported, and pulled by it from a cache that has no upstream', async () => {
    const { host } = await start();
    upstream.addImage('team/tool', { tag: '2', platforms });
    const directory = made('by-skopeo');
    await skopeo(`copy --all --src-tls-verify=false docker://${host}/up/team/tool:2 oci:${directory}:v2`);
    const { cache, host: offline } = await start({ url: 'http://127.0.0.1:9', mode: 'offline' });
    expect(await cache.importLayout({ directory, as: 'up/team/tool:2' })).toMatchObject({ failed: 0 });
    // It writes an index of its own into a layout.
    const [listed] = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8')).manifests;
    expect(await copied(`docker://${offline}/up/team/tool:2`, '--all')).toBe(listed.digest);
  });

  test('from one cache by a folder into another, whose upstream is down, and from there by skopeo', async () => {
    const { cache } = await start();
    const image = upstream.addImage('team/gap', { tag: '3', platforms });
    const directory = made('gap');
    await cache.exportLayout(['up/team/gap:3'], { directory });
    const { cache: there, host } = await start({ url: 'http://127.0.0.1:9', retry: { attempts: 1 } });
    expect(await there.importLayout({ directory })).toMatchObject({ failed: 0 });
    expect(await copied(`docker://${host}/up/team/gap:3`, '--all')).toBe(image.root.digest);
  });
});
