import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Feed, feed, flakyStore, type ManualClock, manualClock, seededBytes } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import { createSlabs } from '../runtime/slabs.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import type { IngestRequest } from './ingest.ts';
import { createIngests, type Ingests } from './ingests.ts';
import { openSpool, type Spool } from './spool.ts';

const bytes = seededBytes('blob', 1000);
const digest = digestOf(bytes);
let clock: ManualClock;
let ingests: Ingests;
let spool: Spool;
let directory: string;

function make(
  maxIngests: number,
  hashing: Pick<Parameters<typeof createIngests>[0], 'hashElsewhere' | 'hashElsewhereFrom'> = {},
): Ingests {
  const { blobs } = memoryStorage({ clock });
  const memory = { buffers: createBuffers(0), slabs: createSlabs(0) };
  return createIngests({ spool, blobs, ...memory, clock, observe: () => undefined, maxIngests, ...hashing });
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ingests-'));
  clock = manualClock();
  spool = openSpool({ directory, minFree: 0, clock });
  ingests = make(2);
});
afterEach(() => {
  spool.close();
  rmSync(directory, { recursive: true });
});

function request(body: Feed, of: Digest = digest, upstream = 'up'): IngestRequest {
  return {
    upstream,
    repository: 'team/app',
    digest: of,
    fetch: async (_, signal) => {
      signal.addEventListener('abort', () => body.fail(signal.reason));
      return { kind: 'found', value: { start: 0, total: bytes.byteLength, body: body.bytes } };
    },
    resumeWithinMs: 0,
    firstByteWithinMs: 60_000,
  };
}

it('finds a running one by upstream and digest, until it has ended', async () => {
  const body = feed(bytes);
  const running = ingests.start(request(body), '-/team/app');
  expect(ingests.find('up', digest)).toBe(running);
  expect(ingests.find('other', digest)).toBeUndefined();
  expect(ingests.find('up', digestOf(Buffer.from('x')))).toBeUndefined();
  expect(running.startedFor).toBe('-/team/app');
  expect([...running.provenFor]).toEqual(['-/team/app']);
  body.end();
  await running.ended;
  await clock.advance(0);
  expect(ingests.find('up', digest)).toBeUndefined();
});

it('does not lead newcomers to one that failed, and starts another beside it', async () => {
  const body = feed();
  const failing = ingests.start(request(body), '-/a');
  const failed = expect(failing.verified).rejects.toThrow('cut off');
  body.fail(new Error('cut off'));
  await failed;
  expect(ingests.find('up', digest)).toBeUndefined();
  const healed = feed(bytes);
  const second = ingests.start(request(healed), '-/a');
  await failing.ended;
  expect(ingests.find('up', digest)).toBe(second);
  healed.end();
  await second.ended;
});

it('38: refuses more than maxIngests, until one has ended', async () => {
  const [one, two] = [feed(bytes), feed(bytes)];
  const first = ingests.start(request(one), '-/a');
  ingests.start(request(two, digest, 'other'), '-/a');
  const third = () => ingests.start(request(feed()), '-/a');
  expect(third).toThrowError(expect.objectContaining({ code: 'too-many-ingests' }));
  one.end();
  await first.ended;
  await clock.advance(0);
  expect(third).not.toThrow();
  two.end();
  const closing = ingests.close(0);
  await clock.advance(0);
  await closing;
});

it('38: does not count transfers that only wait for the store', async () => {
  const storage = flakyStore(memoryStorage({ clock }));
  storage.on('blobs.adopt', { hang: true });
  const one = createIngests({
    spool,
    blobs: storage.blobs,
    buffers: createBuffers(0),
    slabs: createSlabs(0),
    clock,
    observe: () => undefined,
    maxIngests: 1,
  });
  for (const upstream of ['a', 'b', 'c']) {
    const body = feed(bytes);
    const running = one.start(request(body, digest, upstream), '-/a');
    body.end();
    await running.verified;
    expect(one.find(upstream, digest)).toBe(running);
    expect(one.endings(digest)).toBe(0);
  }
  storage.heal();
  await one.close(1000);
  expect(one.endings(digest)).toBe(3);
});

it('lets what runs end by itself when it is closed, and starts nothing more', async () => {
  const body = feed(bytes);
  const running = ingests.start(request(body), '-/a');
  let closed = false;
  const closing = ingests.close(10_000).then(() => {
    closed = true;
  });
  expect(() => ingests.start(request(feed()), '-/a')).toThrowError(expect.objectContaining({ code: 'closed' }));
  await clock.advance(9_999);
  expect(closed).toBe(false);
  body.end();
  await closing;
  await running.verified;
});

it('cuts off what runs longer than it is given, and waits until all is tidy', async () => {
  const bodies = [feed(bytes), feed(bytes)];
  const running = bodies.map((body, i) => ingests.start(request(body, digest, `up-${i}`), '-/a'));
  const closing = ingests.close(10_000);
  await clock.advance(10_000);
  await closing;
  for (const ingest of running) await expect(ingest.verified).rejects.toMatchObject({ code: 'closed' });
});

it('prints no warning, however many transfers listen to its end', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  const many = make(99);
  for (let i = 0; i < 30; i++) many.start(request(feed(), digest, `up-${i}`), '-/a');
  await new Promise((resolve) => setTimeout(resolve, 20));
  const closing = many.close(0);
  await clock.advance(0);
  await closing;
  process.off('warning', note);
  expect(warnings).toEqual([]);
});

/** Of a blob that is worth a thread. */
const largeRequest = (body: Feed, of: Digest): IngestRequest => ({
  ...request(body, of),
  fetch: async (_, signal) => {
    signal.addEventListener('abort', () => body.fail(signal.reason));
    return { kind: 'found', value: { start: 0, total: 20_000_000, body: body.bytes } };
  },
});

it('works out digests elsewhere only while as many blobs come in as that is worth', async () => {
  const elsewhere: Digest[] = [];
  const hashElsewhere = (of: Digest) => {
    elsewhere.push(of);
    return undefined;
  };
  ingests = make(3, { hashElsewhere, hashElsewhereFrom: 2 });
  const [alone, one, other] = [digestOf(Buffer.from('a')), digestOf(Buffer.from('b')), digestOf(Buffer.from('c'))];
  const start = (of: Digest) => ingests.start(largeRequest(feed(new Uint8Array(1)), of), '-/team/app');
  await start(alone).reply;
  expect(elsewhere).toEqual([]);
  await Promise.all([start(one).reply, start(other).reply]);
  // Which of the two has its spool file first is the disk's to say.
  expect(new Set(elsewhere)).toEqual(new Set([one, other]));
  expect(elsewhere).toHaveLength(2);
  await ingests.close(0);
});

it('works out the digest of a blob that comes in alone elsewhere where it comes fast', async () => {
  const asked: unknown[] = [];
  const hashElsewhere = (...how: unknown[]) => {
    asked.push(how);
    return undefined;
  };
  ingests = make(3, { hashElsewhere, hashElsewhereFrom: 2 });
  const body = feed(new Uint8Array(1), Buffer.from(new SharedArrayBuffer(2 * 1024 * 1024)));
  ingests.start(largeRequest(body, digest), '-/team/app');
  await expect.poll(() => asked).toEqual([[digest, true]]);
  await ingests.close(0);
});
