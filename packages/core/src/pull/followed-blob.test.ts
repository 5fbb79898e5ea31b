import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { feed, openFiles, seededBytes } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Rest } from '../ingest/follower.ts';
import { holdOf } from '../ingest/ingest-hold.ts';
import type { RunningIngest } from '../ingest/ingests.ts';
import { createSpoolFile, type SpoolFile } from '../ingest/spool-file.ts';
import { createSpooling, type Spooling } from '../ingest/spooling.ts';
import { digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import { bytesOf, collect } from '../runtime/bytes.ts';
import { createSlabs } from '../runtime/slabs.ts';
import type { BlobAnswer } from './answer.ts';
import { type FollowedPull, followedAnswer } from './followed-blob.ts';

const MiB = 1024 * 1024;
const bytes = seededBytes('followed', 6 * MiB);
const buffers = createBuffers(MiB);
const slabs = createSlabs(64 * MiB);
const { signal } = new AbortController();
let directory: string;
let file: SpoolFile;
let spooling: Spooling;
let rests: Rest[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'followed-'));
  file = await createSpoolFile(join(directory, 'file'));
  spooling = createSpooling(file, digestOf(bytes), { slabs });
  spooling.expect(bytes.byteLength);
  rests = [];
});
afterEach(() => {
  expect(openFiles(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

/** All of `of`, taken in. */
async function fill(of: Uint8Array): Promise<void> {
  const body = feed();
  for (let at = 0; at < of.byteLength; at += 64 * 1024) body.push(of.subarray(at, at + 64 * 1024));
  body.end();
  await spooling.fill(body.bytes);
}

function answer(changes: Partial<FollowedPull> = {}): Promise<BlobAnswer> {
  const ingest = { verified: new Promise(() => undefined) } as Partial<RunningIngest> as RunningIngest;
  return followedAnswer(ingest, holdOf(spooling.view, buffers), {
    digest: digestOf(bytes),
    told: undefined,
    ranges: undefined,
    whole: false,
    goOn(rest, { part }) {
      rests.push(rest);
      return bytesOf(bytes.subarray(rest.position, part && part.to + 1));
    },
    signal,
    cacheStatus: { hit: false, fwd: 'miss' },
    ...changes,
  });
}

it('stays readable in part when what was begun went on alone, and the transfer ended', async () => {
  await fill(bytes);
  vi.spyOn(file, 'read').mockRejectedValueOnce(new Error('EIO'));
  const got = await answer();
  expect(rests).toHaveLength(1);
  void spooling.verify();
  await spooling.release();
  // Another file takes the number of the one that would be closed by now.
  const other = await createSpoolFile(join(directory, 'other'));
  const part = { from: MiB, to: 2 * MiB };
  expect(Buffer.from((await collect(got.read(part), 1e9))!).equals(bytes.subarray(MiB, 2 * MiB + 1))).toBe(true);
  await other.close();
  await got.close();
  expect(rests).toHaveLength(1);
});

it('lets go of the file as soon as what is read goes on alone', async () => {
  await fill(bytes);
  vi.spyOn(file, 'read').mockRejectedValueOnce(new Error('EIO'));
  const got = await answer();
  await spooling.release();
  expect(spooling.isOpen()).toBe(true);
  const body = got.read();
  await vi.waitFor(() => expect(openFiles(directory)).toEqual([]));
  expect(Buffer.from((await collect(body, 1e9))!).equals(bytes)).toBe(true);
  await got.close();
});

it.each([
  ['the whole', undefined, bytes],
  ['its end', [{ last: MiB + 5 }], bytes.subarray(-MiB - 5)],
])('of another size than was told at first, gives %s as the second try tells it', async (_, ranges, expected) => {
  const wrong = seededBytes('wrong', MiB);
  spooling.expect(wrong.byteLength);
  await fill(wrong);
  const answering = answer({ ranges });
  answering.catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  await spooling.restart(() => createSpoolFile(join(directory, 'another')), new Error('wrong bytes'));
  spooling.expect(bytes.byteLength);
  const body = feed(bytes.subarray(0, 5.5 * MiB));
  const filling = spooling.fill(body.bytes);
  const got = await answering;
  body.push(bytes.subarray(5.5 * MiB));
  body.end();
  await filling;
  void spooling.verify();
  expect(got.size).toBe(bytes.byteLength);
  expect(Buffer.from((await collect(got.read(got.parts?.[0]), 1e9))!).equals(expected)).toBe(true);
  await Promise.all([got.close(), spooling.release()]);
});
