// Writes to the storage of a folder until it is killed: records that are set over and over, blobs that are put and
// adopted. Each write that was done is a line on stdout. Arguments: the folder, and a name for what this run writes.
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';

const [, , folder, run] = process.argv;
const { blobs, metadata, spoolDirectory } = fileStorage(folder);
const { signal } = new AbortController();
const tell = (line) => process.stdout.write(`${line}\n`);

async function writeRecords(writer) {
  for (let at = 0; ; at++) {
    const key = `tag/hub/${writer}/${at % 20}`;
    const value = `${run}.${at}.`.padEnd(5_000 + at, 'x');
    await metadata.set(key, value, { signal });
    tell(`record ${key} ${run}.${at}. ${value.length}`);
    if (at % 7 === 0) await metadata.delete(`tag/hub/${writer}/${(at + 3) % 20}`, { signal });
  }
}

async function storeBlobs(writer) {
  for (let at = 0; ; at++) {
    const bytes = randomBytes(700_000);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (at % 2) {
      await blobs.put({ digest, bytes, signal });
    } else {
      const file = join(spoolDirectory, `${run}.${writer}`);
      await writeFile(file, bytes);
      await blobs.adopt({ file, digest, size: bytes.length, signal });
    }
    tell(`blob ${digest}`);
  }
}

await Promise.all([1, 2, 3].flatMap((writer) => [writeRecords(writer), storeBlobs(writer)]));
