// Multiplies what a store holds, so that it looks like one that is old: each record of a template image again and again
// under other repositories, tags and digests, and small blobs. Whatever records are made of, copies are made of the same.
// Arguments: the checkout whose build is run, the folder of the store, how many records and blobs, and the template's
// repository, tag and digests.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , checkout, folder, records, blobs, repository, ...digests] = process.argv;
const { fileStorage } = await import(pathToFileURL(join(checkout, 'packages/core/dist/index.js')).href);
const storage = fileStorage(folder);
const { signal } = new AbortController();
const atOnce = 64;
const tagsOfRepository = 100;

/** Runs `work` for 0, 1, … up to `count`, some at once. */
async function forEach(count, work) {
  let next = 0;
  const run = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, run));
}

const hexOf = (text) => createHash('sha256').update(text).digest('hex');
const inKey = encodeURIComponent;

const keys = await storage.metadata.list('', { limit: 1000, signal });
const template = await Promise.all(
  keys.map(async (key) => ({ key, value: (await storage.metadata.get(key, { signal })).value })),
);

/** A text of the template as that of the copy with this number. */
function copied(text, number) {
  const own = `old/repository-${Math.floor(number / tagsOfRepository)}`;
  const named = text
    .replaceAll(inKey(repository), inKey(own))
    .replaceAll(repository, own)
    .replaceAll(/\blatest\b/g, `v${number}`);
  return digests.reduce((done, digest) => {
    const hex = digest.slice(digest.indexOf(':') + 1);
    return done.replaceAll(hex, hexOf(`${hex} ${number}`));
  }, named);
}

await forEach(Math.ceil(Number(records) / template.length), async (number) => {
  for (const { key, value } of template)
    await storage.metadata.set(copied(key, number), copied(value, number), { signal });
});
await forEach(Number(blobs), async (number) => {
  const bytes = Buffer.from(`blob ${number}`);
  await storage.blobs.put({ digest: `sha256:${hexOf(bytes)}`, bytes, signal });
});
console.log(JSON.stringify({ template: keys }));
process.exit();
