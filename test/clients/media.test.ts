import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '@proxycache/test-kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import { compileHello } from '../peers/hello-program.ts';
import type { Image } from '../peers/image-builder.ts';
import { type MediaImages, mediaImages } from '../peers/media-images.ts';
import { runOk } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { configFor, hasPrograms, startUpstream, upstreamKey } from './world.ts';

const kinds: readonly (readonly [string, keyof MediaImages])[] = [
  ['an OCI image', 'oci'],
  ['an OCI image with zstd layers', 'zstd'],
  ['an OCI image with layers that are not compressed', 'uncompressed'],
  ['an OCI index with two platforms and an attestation', 'index'],
  ['a Docker schema 2 image', 'docker'],
  ['a Docker manifest list', 'dockerList'],
  ['an artifact that is no image', 'artifact'],
  ['a Helm chart', 'chart'],
  ['an image with a layer of 64 MiB', 'big'],
];

describe.skipIf(!hasPrograms({ skopeo: 'skopeo' }))('what is pulled through the cache', () => {
  let images: MediaImages;
  let upstream: UpstreamPeer;
  let cache: CacheProcess;
  let folder: string;

  beforeAll(async () => {
    folder = makeTemporaryFolder('media');
    images = mediaImages(await compileHello());
    upstream = await startUpstream();
    cache = await startCacheProcess(configFor(upstream));
  });
  afterAll(async () => {
    await cache.close();
    await upstream.close();
    removeFolder(folder);
  });

  it.each(kinds)('%s arrives byte for byte, each blob asked for once', async (_, kind) => {
    const image = images[kind];
    const repository = `media/${kind.toLowerCase()}`;
    await upstream.push(repository, '1.0', image);
    for (const temperature of ['cold', 'warm']) {
      const target = join(folder, `${kind}-${temperature}`);
      const source = `docker://${cache.host}/${upstreamKey}/${repository}:1.0`;
      const args = ['copy', '--all', '--preserve-digests', '--src-tls-verify=false', source, `dir:${target}`];
      await runOk({ program: 'skopeo', args });
      expect(copiedFiles(target)).toEqual(expectedFiles(image));
    }
    // A GET, or where another repository brought the bytes already, a HEAD that proves this one has them.
    const asked = upstream.takeAllRequests().filter(({ path }) => path.includes('/blobs/'));
    expect(asked.map(({ path }) => path).toSorted()).toEqual(blobPathsOf(image, repository));
  });

  it('serves the media type that each manifest was pushed with', async () => {
    for (const [kind, image] of Object.entries(images) as [string, Image][]) {
      const repository = `types/${kind.toLowerCase()}`;
      await upstream.push(repository, '1.0', image);
      for (const { digest, mediaType } of [image.manifest, ...image.children]) {
        const response = await fetch(`${cache.url}/v2/${upstreamKey}/${repository}/manifests/${digest}`);
        expect(response.headers.get('content-type')).toBe(mediaType);
        expect(response.headers.get('docker-content-digest')).toBe(digest);
      }
    }
  });
});

/** The digests of what skopeo wrote, by file name: `manifest.json`, `<hex>.manifest.json`, `<hex>`. */
function copiedFiles(folder: string): Readonly<Record<string, string>> {
  const files = readdirSync(folder).filter((name) => name !== 'version');
  return Object.fromEntries(files.map((name) => [name, sha256(readFileSync(join(folder, name)))]));
}

function expectedFiles({ manifest, children, blobs }: Image): Readonly<Record<string, string>> {
  const hex = (digest: string) => digest.slice('sha256:'.length);
  return Object.fromEntries([
    ['manifest.json', manifest.digest],
    ...children.map(({ digest }) => [`${hex(digest)}.manifest.json`, digest]),
    ...blobs.map(({ digest }) => [hex(digest), digest]),
  ]);
}

function blobPathsOf({ blobs }: Image, repository: string): readonly string[] {
  return [...new Set(blobs.map(({ digest }) => `/v2/${repository}/blobs/${digest}`))].toSorted();
}
