import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Digest, digestOf, fileStorage, type Storage } from '@proxycache/core';
import { afterEach, beforeEach, expect, test } from 'vitest';

const writer = fileURLToPath(new URL('./crash-writer.mjs', import.meta.url));
const { signal } = new AbortController();
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'crash-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Starts a writer and kills it once it has done `writes` of them. @returns what it said it had written */
async function writeAndDie(run: number, writes: number): Promise<string[]> {
  const child = spawn(process.execPath, [writer, folder, String(run)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (lines.length === writes) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
  return lines;
}

async function bytesOf(storage: Storage, digest: Digest): Promise<Buffer> {
  const blob = await storage.blobs.open(digest, { signal });
  if (blob?.kind !== 'file') throw new Error(`${digest} is not stored as a file`);
  const into = Buffer.alloc(blob.size);
  await blob.read(into, 0);
  await blob.close();
  return into;
}

test('after kill -9 nothing is torn, nothing is lost that was stored, and nothing is left over', async () => {
  const acknowledged = new Set<Digest>();
  for (let run = 1; run <= 6; run++) {
    const lines = await writeAndDie(run, run * 40);
    const storage = fileStorage(folder);
    expect(readdirSync(join(folder, 'tmp'))).toEqual([]);

    for (const line of lines) if (line.startsWith('blob ')) acknowledged.add(line.slice(5) as Digest);
    const stored = new Set<Digest>();
    for await (const { digest, size } of storage.blobs.digests({ signal })) {
      stored.add(digest);
      const bytes = await bytesOf(storage, digest);
      expect(bytes.byteLength).toBe(size);
      expect(digestOf(bytes)).toBe(digest);
    }
    expect([...acknowledged].filter((digest) => !stored.has(digest))).toEqual([]);

    const keys = await storage.metadata.list('tag/', { limit: 1_000, signal });
    expect(keys.length).toBeGreaterThan(10);
    const writes = new Map<string, number>();
    for (const key of keys) {
      const { value } = (await storage.metadata.get(key, { signal }))!;
      const [, of, at] = /^(\d+)\.(\d+)\.x+$/.exec(value)!;
      expect(value.length).toBe(5_000 + Number(at));
      writes.set(key, Number(of) * 1e6 + Number(at));
    }
    // What was acknowledged last is there, or what was written after it.
    for (const line of lines) {
      const [kind, key, mark] = line.split(' ');
      if (kind !== 'record' || !writes.has(key!)) continue;
      const [of, at] = mark!.split('.').map(Number);
      expect(writes.get(key!)).toBeGreaterThanOrEqual(of! * 1e6 + at!);
    }
  }
});
