import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { blobStoreContract, casesOf } from '@proxycache/contract';
import type { BlobStore } from '@proxycache/core';
import { afterAll, describe, test } from 'vitest';
import { fencesOf, readPage, root } from './markdown.ts';

// Inside the docs folder, whose packages it imports, and outside node_modules, where nothing would take the types off.
const folder = mkdtempSync(join(root, 'docs/.stores-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function documentedStore(): Promise<() => BlobStore> {
  const fence = fencesOf(readPage('docs/stores.md').text).find(({ code }) => /export function mapBlobs\b/.test(code));
  if (!fence) throw new Error('docs/stores.md has no mapBlobs any more');
  const file = join(folder, 'map-blobs.ts');
  writeFileSync(file, fence.code);
  const { mapBlobs } = await import(pathToFileURL(file).href);
  return mapBlobs;
}

describe('the blob store of docs/stores.md', async () => {
  const mapBlobs = await documentedStore();
  const make = async () => ({ store: mapBlobs(), close: async () => undefined });
  for (const { name, run } of casesOf(blobStoreContract)) test(name, () => run(make));
});
