import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { digestHex, digestOf } from '../oci/digest.ts';
import { createUsedBlobs } from './used-blobs.ts';

const unreadable = vi.hoisted(() => new Set<string>());
vi.mock('./file-system.ts', async (importOriginal) => {
  const real = await importOriginal<typeof import('./file-system.ts')>();
  const statFile = async (path: string) => {
    if (unreadable.has(path)) throw Object.assign(new Error('EIO: i/o error, stat'), { code: 'EIO' });
    return await real.statFile(path);
  };
  return { ...real, statFile };
});

test('one file that the disk did not give left all that was there uncounted', async () => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'used-blobs-'));
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  for (const algorithm of ['sha256', 'sha512']) fs.mkdirSync(join(folder, algorithm));
  const paths = Array.from({ length: 10 }, (_, index) => {
    const bytes = Buffer.alloc(100, index);
    const path = join(folder, 'sha256', digestHex(digestOf(bytes)));
    fs.writeFileSync(path, bytes);
    return path;
  });
  unreadable.add(paths[5]!);
  const used = createUsedBlobs(folder);
  await used.scan();
  expect(used.bytes()).toBe(900);
  expect(used.oldest()).toBeDefined();
});
