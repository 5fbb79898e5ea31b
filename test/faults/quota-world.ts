import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createProxyCache,
  type Digest,
  fileStorage,
  type ProxyCache,
  type ProxyCacheEvent,
  type ProxyCacheOptions,
} from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { type FakeUpstream, seededBytes, startFakeUpstream } from '@proxycache/test-kit';
import { onTestFinished } from 'vitest';
import { request } from '../semantics/request.ts';

/** An image of a registry, and all that a client needs of it. */
export interface SharingImage {
  repository: string;
  tag: string;
  /** The manifest, config and layers. */
  digests: readonly Digest[];
}

const repositories = 20;
const baseLayers = 60;
const baseBytes = 96 * 1024;
const basesOfEach = 3;
const ownBytes = [16 * 1024, 6 * 1024];

/** A registry of images that share most of their layers, some of them in other repositories. */
export async function startSharingUpstream(
  count: number,
): Promise<{ upstream: FakeUpstream; images: SharingImage[]; sizes: ReadonlyMap<Digest, number> }> {
  const upstream = await startFakeUpstream();
  onTestFinished(() => upstream.stop());
  const sizes = new Map<Digest, number>();
  const bases = Array.from({ length: baseLayers }, (_, index) => seededBytes(`base ${index}`, baseBytes));
  const images: SharingImage[] = [];
  for (let index = 0; index < count; index++) {
    const repository = `team/app-${index % repositories}`;
    const put = (bytes: Uint8Array) => {
      const digest = upstream.putBlob(repository, bytes);
      sizes.set(digest, bytes.byteLength);
      return { mediaType: 'application/octet-stream', digest, size: bytes.byteLength };
    };
    const shared = Array.from({ length: basesOfEach }, (_, i) => bases[(index * 7 + i * 11) % baseLayers]!);
    const own = ownBytes.map((size, i) => seededBytes(`own ${index} ${i}`, size));
    const layers = [...shared, ...own].map(put);
    const config = put(Buffer.from(JSON.stringify({ index })));
    const tag = `v${index}`;
    const manifest = { schemaVersion: 2, config, layers };
    const root = upstream.putManifest(repository, manifest, { tags: [tag] });
    sizes.set(root.digest, root.size);
    const digests = [root, config, ...layers].map(({ digest }) => digest);
    images.push({ repository, tag, digests });
  }
  return { upstream, images, sizes };
}

/** A cache on a folder, by the machine's clock. */
export interface RunningCache {
  cache: ProxyCache;
  url: string;
  directory: string;
  events: ProxyCacheEvent[];
  close(): Promise<void>;
}

/** A folder that is gone with the test. */
export function scratchFolder(): string {
  const directory = mkdtempSync(join(tmpdir(), 'quota-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export async function startOn(
  directory: string,
  options: Omit<ProxyCacheOptions, 'storage' | 'observer'>,
): Promise<RunningCache> {
  const events: ProxyCacheEvent[] = [];
  const cache = createProxyCache({
    minFree: 0,
    ...options,
    storage: fileStorage(directory),
    observer: (event) => void (event.type !== 'request' && event.type !== 'upstream-request' && events.push(event)),
  });
  const server = createServer(createNodeHandler(cache));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  const close = async () => {
    await cache.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const closeOnce = () => (closing ??= close());
  onTestFinished(closeOnce);
  return { cache, url: `http://127.0.0.1:${port}`, directory, events, close: closeOnce };
}

/** Pulls a whole image, as containerd or podman does. @returns what went wrong, if anything */
export async function pullWhole(url: string, image: SharingImage, byDigest: boolean): Promise<string | undefined> {
  const base = `${url}/v2/up/${image.repository}`;
  const [root, ...blobs] = image.digests;
  if (byDigest) {
    const head = await request(`${base}/manifests/${image.tag}`, { method: 'HEAD' });
    if (head.status !== 200) return `HEAD ${image.tag}: ${head.status} ${head.errorCode ?? ''}`;
  }
  const asked = [`manifests/${byDigest ? root : image.tag}`, ...blobs.map((digest) => `blobs/${digest}`)];
  for (const [index, path] of asked.entries()) {
    const got = await request(`${base}/${path}`);
    const digest = `sha256:${createHash('sha256').update(got.body).digest('hex')}`;
    if (got.status !== 200 || got.failure || digest !== image.digests[index]) {
      return `${image.tag} ${path}: ${got.status} ${got.errorCode ?? got.failure?.message ?? digest}`;
    }
  }
  return undefined;
}

/** Looks at the disk, in a process of its own: how many bytes the files below some folders have. One look after the other. */
export function startDiskBytes(): (folders: readonly string[]) => Promise<number> {
  const child = fork(fileURLToPath(new URL('./disk-bytes.mjs', import.meta.url)));
  onTestFinished(async () => {
    const ended = once(child, 'exit');
    if (child.kill()) await ended;
  });
  let last: Promise<unknown> = Promise.resolve();
  return (folders) => {
    const look = last.then(async () => {
      const told = once(child, 'message');
      child.send(folders);
      return Number((await told)[0]);
    });
    last = look.catch(() => undefined);
    return look;
  };
}

export const sum = (numbers: Iterable<number>): number => [...numbers].reduce((all, one) => all + one, 0);
