import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { feed, openFiles, seededBytes } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { createSpoolFile, type SpoolFile } from './spool-file.ts';
import { createSpooling } from './spooling.ts';

const MiB = 1024 * 1024;
const { signal } = new AbortController();
let directory: string;
let file: SpoolFile;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'spooling-'));
  file = await createSpoolFile(join(directory, 'file'));
});
afterEach(() => {
  expect(openFiles(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

/** A body of chunks of 64 KiB. */
function chunked(bytes: Uint8Array, size = 64 * 1024) {
  const chunks: Uint8Array[] = [];
  for (let from = 0; from < bytes.byteLength; from += size) chunks.push(bytes.subarray(from, from + size));
  const body = feed(...chunks);
  body.end();
  return body.bytes;
}

it.each(['sha256', 'sha512'])('takes a body in, and gives its %s digest and size', async (algorithm) => {
  const bytes = seededBytes('a', 5 * MiB + 17);
  const digest = digestOf(bytes, algorithm);
  const spooling = createSpooling(file, digest);
  spooling.expect(bytes.byteLength);
  expect(await spooling.fill(chunked(bytes))).toEqual({ digest, size: bytes.byteLength });
  expect(spooling.view.state()).toEqual({ contiguous: bytes.byteLength, phase: 'filling', epoch: 0 });
  expect(readFileSync(file.path).equals(bytes)).toBe(true);
  await spooling.release();
});

it('keeps the last 2 MiB in memory, and nothing once it has let go', async () => {
  const bytes = seededBytes('b', 8 * MiB);
  const spooling = createSpooling(file, digestOf(bytes));
  await spooling.fill(chunked(bytes));
  expect(spooling.view.recent(6 * MiB - 64 * 1024 - 1)).toBeUndefined();
  expect(Buffer.from(spooling.view.recent(6 * MiB)!).equals(bytes.subarray(6 * MiB, 6 * MiB + 64 * 1024))).toBe(true);
  spooling.verify();
  const reader = spooling.view.open();
  await spooling.release();
  // A slow reader has the file.
  expect(spooling.view.recent(8 * MiB - 1)).toBeUndefined();
  const into = Buffer.alloc(10);
  await reader.read(into, 8 * MiB - 10);
  expect(into.equals(bytes.subarray(8 * MiB - 10))).toBe(true);
  expect(spooling.isOpen()).toBe(true);
  await reader.close();
  expect(spooling.isOpen()).toBe(false);
});

it('stops at the first byte over, and closes the body', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('abc')));
  spooling.expect(4);
  const body = feed(Buffer.from('abc'), Buffer.from('de'), Buffer.from('never asked for'));
  await spooling.fill(body.bytes);
  expect(body.closed).toBe(true);
  expect(body.taken).toBe(2);
  expect(spooling.view.state().contiguous).toBe(3);
  await spooling.release();
});

it('starts anew: another epoch, and nothing of the try before', async () => {
  const right = seededBytes('right', 1000);
  const spooling = createSpooling(file, digestOf(right));
  await spooling.fill(chunked(seededBytes('wrong', 3000)));
  await spooling.restart();
  expect(spooling.view.state()).toEqual({ contiguous: 0, phase: 'filling', epoch: 1 });
  expect(spooling.view.recent(0)).toBeUndefined();
  expect(await spooling.fill(chunked(right))).toEqual({ digest: digestOf(right), size: 1000 });
  expect(readFileSync(file.path).equals(right)).toBe(true);
  await spooling.release();
});

it('passes on what the body fails with', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('')));
  const body = feed(Buffer.from('abc'));
  body.fail(new Error('cut off'));
  await expect(spooling.fill(body.bytes)).rejects.toThrow('cut off');
  await spooling.release();
});

it('fails with storage-failed where the file cannot be written, and closes the body', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('')));
  const body = feed(Buffer.alloc(MiB), Buffer.alloc(MiB));
  await file.close();
  await expect(spooling.fill(body.bytes)).rejects.toMatchObject({ code: 'storage-failed' });
  expect(body.closed).toBe(true);
});

it('wakes whoever waits for a change, and lets those go who left', async () => {
  const spooling = createSpooling(file, digestOf(Buffer.from('')));
  const { view } = spooling;
  const seen = view.state();
  const leaving = new AbortController();
  const [staying, left] = [view.changed(seen, signal), view.changed(seen, leaving.signal)];
  leaving.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  await expect(view.changed(seen, leaving.signal)).rejects.toThrow('left');
  spooling.fail(new Error('over'));
  await staying;
  await view.changed(seen, signal);
  expect(view.state().phase).toBe('failed');
  expect(view.failure).toMatchObject({ message: 'over' });
  await spooling.release();
});
