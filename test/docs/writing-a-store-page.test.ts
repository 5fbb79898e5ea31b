import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { blobStoreContract, casesOf, metadataStoreContract } from '@proxycache/contract';
import { type BlobStore, createProxyCache, digestOf, type MetadataStore } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, describe, expect, test } from 'vitest';
import { fencesOf, readPage, root } from './markdown.ts';

// Inside the docs folder, whose packages it imports, and outside node_modules, where nothing would take the types off.
const folder = mkdtempSync(join(root, 'docs/.writing-a-store-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Loads what the page exports under this name. */
async function documented<T>(name: string): Promise<T> {
  const isIt = ({ code }: { code: string }) => code.includes(`export function ${name}(`);
  const fence = fencesOf(readPage('docs/writing-a-store.md').text).find(isIt);
  if (!fence) throw new Error(`docs/writing-a-store.md has no ${name} any more`);
  const file = join(folder, `${name}.ts`);
  writeFileSync(file, fence.code);
  return (await import(pathToFileURL(file).href))[name];
}

const mapBlobs = await documented<() => BlobStore>('mapBlobs');
const mapMetadata = await documented<() => MetadataStore>('mapMetadata');

describe('the blob store of docs/writing-a-store.md', () => {
  const make = async () => ({ store: mapBlobs(), close: async () => undefined });
  for (const { name, run } of casesOf(blobStoreContract)) test(name, () => run(make));
});

describe('the metadata store of docs/writing-a-store.md', () => {
  const make = async () => ({ store: mapMetadata(), close: async () => undefined });
  for (const { name, run } of casesOf(metadataStoreContract)) test(name, () => run(make));
});

test('a cache on both serves what it pulled, also when it was made anew with the upstream gone', async () => {
  const upstream = await startFakeUpstream();
  const { root: image, blobs } = upstream.addImage('team/app', { tag: '1', layerSizes: [200_000] });
  const storage = { blobs: mapBlobs(), metadata: mapMetadata(), spoolDirectory: join(folder, 'spool') };
  for (const isGone of [false, true]) {
    if (isGone) await upstream.stop();
    const cache = createProxyCache({ upstreams: [{ key: 'up', url: upstream.url }], storage });
    for (const [path, digest] of [
      ['manifests/1', image.digest],
      ...blobs.map((blob) => [`blobs/${blob.digest}`, blob.digest]),
    ]) {
      const response = await cache.fetch(new Request(`http://cache/v2/up/team/app/${path}`));
      expect([response.status, digestOf(Buffer.from(await response.arrayBuffer()))]).toEqual([200, digest]);
    }
    await cache.close();
  }
});
