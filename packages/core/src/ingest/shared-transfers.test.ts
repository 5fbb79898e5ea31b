import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gate, openFiles, seededBytes } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import { bytesOf, collect } from '../runtime/bytes.ts';
import { systemClock as clock } from '../runtime/clock.ts';
import { createSlabs } from '../runtime/slabs.ts';
import type { Coordinator, Lease } from '../store/coordinator.ts';
import { fileStorage } from '../store/file-storage.ts';
import { localCoordinator } from '../store/local-coordinator.ts';
import type { Storage } from '../store/storage.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { IngestEvent } from './events.ts';
import type { IngestParts, IngestRequest } from './ingest.ts';
import { createIngests, type Ingests, type RunningIngest } from './ingests.ts';
import { leaderText } from './leader.ts';
import { createSharedTransfers, type SharedTransfers } from './shared-transfers.ts';
import { openSpool, type Spool } from './spool.ts';
import { spoolSource } from './spool-source.ts';
import { encodeState, type SpoolFileState, statePathOf } from './spool-state.ts';

const MiB = 1024 * 1024;
const large = seededBytes('large', 3 * MiB);
const small = seededBytes('small', 100_000);
const slabs = createSlabs(64 * MiB);
const waiting = { timeout: 15_000, interval: 5 };
const place = 'generation/-/team/app';
const never = new AbortController().signal;

let directory: string;
let storage: Storage;
let coordinator: Coordinator;
let processes: { spool: Spool; ingests: Ingests; sharing: SharedTransfers }[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shared-transfers-'));
  storage = fileStorage(directory);
  coordinator = localCoordinator();
  processes = [];
});
afterEach(async () => {
  for (const { ingests, spool } of processes) {
    await ingests.close(0);
    spool.close();
  }
  expect(openFiles(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

/** What stands for a process: it shares the folder, the store and the coordinator with the others. */
function startProcess(own: Partial<Pick<IngestParts, 'blobs' | 'isWaiting'>> = {}) {
  const events: IngestEvent[] = [];
  const observe = (event: IngestEvent | { type: string }) => void events.push(event as IngestEvent);
  const spool = openSpool({ directory: storage.spoolDirectory, minFree: 0, clock });
  const source = spoolSource({ directory: storage.spoolDirectory, clock, slabs });
  const sharing = createSharedTransfers({
    coordinator,
    sources: [source],
    self: { owner: 'this~1~2~3' },
    directory: storage.spoolDirectory,
    slabs,
    clock,
    observe,
  });
  const { blobs } = storage;
  const ingests = createIngests({
    spool,
    blobs,
    buffers: createBuffers(8 * MiB),
    slabs,
    clock,
    observe,
    maxIngests: 10,
    sharing,
    ...own,
  });
  processes.push({ spool, ingests, sharing });
  return {
    events,
    roles: () => events.flatMap((event) => (event.type === 'ingest-shared' ? [[event.role, event.from]] : [])),
    outcomes: () => events.flatMap((event) => (event.type === 'ingest-ended' ? [event.outcome] : [])),
    start: (request: Partial<IngestRequest> & { of: Uint8Array; asked?: number[] }) =>
      ingests.start(requestOf(request), '-/team/app'),
  };
}

/** An upstream that gives the rest from any byte, and notes what it is asked for. */
function requestOf({ of, asked = [], ...more }: Partial<IngestRequest> & { of: Uint8Array; asked?: number[] }) {
  return {
    upstream: 'up',
    repository: 'team/app',
    digest: digestOf(of),
    async fetch(from: number) {
      asked.push(from);
      const body = bytesOf(Uint8Array.from(of.subarray(from)));
      return { kind: 'found' as const, value: { start: from, total: of.byteLength, body } };
    },
    permission: { place, said: undefined, ask: () => Promise.reject(new Error('nobody has to be asked')) },
    resumeWithinMs: 20_000,
    firstByteWithinMs: 20_000,
    ...more,
  };
}

/** A leader made up by hand: the lease, what it tells, and what its file holds. */
async function leads(of: Uint8Array, file: Uint8Array, state: Partial<SpoolFileState>): Promise<Lease> {
  const spool = 'that~1~2~3/cache-abcdef/0';
  const path = join(storage.spoolDirectory, spool);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, file);
  const told = {
    file: '0',
    written: file.byteLength,
    total: of.byteLength,
    phase: 'filling',
    beat: 1,
    ...state,
  } as const;
  writeFileSync(statePathOf(path), encodeState(told));
  const value = leaderText({ owner: 'that~1~2~3', place, spool });
  return (await coordinator.acquire(`ingest/up/${digestOf(of)}`, { for: 3_000, value, signal: never }))!;
}

async function read({ reply, hold }: RunningIngest): Promise<Buffer> {
  await reply;
  const held = hold()!;
  return Buffer.from((await collect(held.follow(), 10 * MiB).finally(() => held.release()))!);
}

it('takes what a leader that died had brought, and asks the upstream for the rest', async () => {
  const lease = await leads(large, large.subarray(0, 2 * MiB), {});
  const one = startProcess();
  const asked: number[] = [];
  const running = one.start({ of: large, asked });
  const got = read(running);
  await expect.poll(() => running.received(), waiting).toBe(2 * MiB);
  await lease.release();
  expect((await got).equals(large)).toBe(true);
  await running.ended;
  expect(asked).toEqual([2 * MiB]);
  expect(one.roles()).toEqual([
    ['follower', 0],
    ['leader', 2 * MiB],
  ]);
  expect(one.outcomes()).toEqual(['stored']);
});

it('believes no other process: what comes wrong from there is fetched from the upstream, and stored', async () => {
  const wrong = Uint8Array.from(small, (byte) => byte ^ 1);
  const lease = await leads(small, wrong, { phase: 'verified' });
  const one = startProcess();
  const asked: number[] = [];
  const running = one.start({ of: small, asked });
  expect((await read(running)).equals(small)).toBe(true);
  expect(asked).toEqual([0]);
  expect(one.roles()).toEqual([
    ['follower', 0],
    ['alone', 0],
  ]);
  await lease.release();
  await running.ended;
  expect(one.outcomes()).toEqual(['stored']);
});

it('asks the upstream where a leader lives and brings nothing, in half of its own time', async () => {
  const lease = await leads(small, small.subarray(0, 0), { phase: 'asking' });
  const one = startProcess();
  const asked: number[] = [];
  const running = one.start({ of: small, asked, firstByteWithinMs: 1_000 });
  expect((await read(running)).equals(small)).toBe(true);
  expect(asked).toEqual([0]);
  expect(one.roles()).toEqual([['alone', 0]]);
  await lease.release();
});

it.each([
  ['another version', JSON.stringify({ v: 2, owner: 'x', place })],
  ['no words', ''],
  ['a path out of the folder', leaderText({ owner: 'x', place, spool: '../../cache-abcdef/0' })],
  ['a folder that is not there', leaderText({ owner: 'x', place, spool: 'x~1~2~3/cache-abcdef/0' })],
])('asks the upstream by itself where a lease tells of %s', async (_what, value) => {
  await coordinator.acquire(`ingest/up/${digestOf(small)}`, { for: 3_000, value, signal: never });
  const one = startProcess();
  expect((await read(one.start({ of: small }))).equals(small)).toBe(true);
  expect(one.roles()).toEqual([['alone', 0]]);
});

it('goes on as if nothing were where its lease is lost, and stores what nobody else has stored', async () => {
  const lost = new AbortController();
  const { acquire } = coordinator;
  let given: Lease | undefined;
  coordinator.acquire = async (...asked) => {
    const lease = await acquire(...asked);
    if (given || !lease) return lease;
    given = lease;
    return { ...lease, lost: lost.signal };
  };
  const one = startProcess();
  const asked: number[] = [];
  const running = one.start({
    of: large,
    asked,
    async fetch(from) {
      asked.push(from);
      async function* body() {
        yield Uint8Array.from(large.subarray(0, MiB));
        lost.abort(new Error('lost'));
        await given?.release();
        yield Uint8Array.from(large.subarray(MiB));
      }
      return { kind: 'found', value: { start: from, total: large.byteLength, body: body() } };
    },
  });
  expect((await read(running)).equals(large)).toBe(true);
  await running.ended;
  expect(asked).toEqual([0]);
  expect(one.outcomes()).toEqual(['stored']);
});

it("is a client's transfer as soon as a client of another process waits for it", async () => {
  const [one, two] = [startProcess(), startProcess()];
  let isClaimed = false;
  let goOn = () => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const claimed = () => {
    isClaimed = true;
  };
  const ahead = one.start({
    of: large,
    spare: { claimed },
    async fetch(from) {
      async function* body() {
        yield Uint8Array.from(large.subarray(0, MiB));
        await held;
        yield Uint8Array.from(large.subarray(MiB));
      }
      return { kind: 'found', value: { start: from, total: large.byteLength, body: body() } };
    },
  });
  await expect.poll(() => ahead.received(), waiting).toBe(MiB);
  expect(isClaimed).toBe(false);
  const asked: number[] = [];
  const second = two.start({ of: large, asked });
  const got = read(second);
  await expect.poll(() => isClaimed, waiting).toBe(true);
  goOn();
  expect((await got).equals(large)).toBe(true);
  expect(asked).toEqual([]);
  await Promise.all([ahead.ended, second.ended]);
  expect([...one.outcomes(), ...two.outcomes()]).toEqual(['stored', 'stored']);
});

it('lets no other process store a blob that waits for the store in the one that leads', async () => {
  const aside = join(directory, 'aside');
  let waits = true;
  const adopted: string[] = [];
  const adopt = storage.blobs.adopt;
  const one = startProcess({
    isWaiting: () => waits,
    blobs: { ...storage.blobs, adopt: async ({ file }) => renameSync(file, aside) },
  });
  const two = startProcess({
    blobs: {
      ...storage.blobs,
      async adopt(blob) {
        adopted.push(blob.digest);
        await adopt(blob);
      },
    },
  });
  const followed = gate();
  const first = one.start({
    of: small,
    async fetch(start) {
      await followed.pass();
      const body = bytesOf(Uint8Array.from(small.subarray(start)));
      return { kind: 'found', value: { start, total: small.byteLength, body } };
    },
  });
  await expect.poll(() => one.roles(), waiting).toEqual([['leader', 0]]);
  const second = two.start({
    of: small,
    permission: { place: 'other', said: { named: true }, ask: () => Promise.reject() },
  });
  followed.open();
  await Promise.all([first.ended, second.verified]);
  // One that comes now finds nobody who has it, and does not wait.
  const three = startProcess();
  const third = three.start({ of: small });
  expect((await read(third)).equals(small)).toBe(true);
  expect([...two.outcomes(), ...three.outcomes()]).toEqual([]);
  await adopt({ file: aside, digest: digestOf(small), size: small.byteLength, signal: never });
  waits = false;
  await Promise.all([second.ended, third.ended]);
  expect([...two.outcomes(), ...three.outcomes()]).toEqual(['stored', 'stored']);
  expect(adopted).toEqual([]);
});

it.each(['is slow', 'is away'])(
  'could not be had from the leader once it was on its way to a store that %s',
  async (how) => {
    const aside = join(directory, 'aside');
    const held = gate();
    const isAway = how === 'is away';
    let waits = isAway;
    const { adopt } = storage.blobs;
    const one = startProcess({
      isWaiting: () => waits,
      blobs: {
        ...storage.blobs,
        async adopt(blob) {
          renameSync(blob.file, aside);
          if (isAway) return;
          await held.pass();
          await adopt({ ...blob, file: aside });
        },
      },
    });
    const first = one.start({ of: small });
    await (isAway ? first.ended : held.reached);
    const two = startProcess();
    const second = two.start({ of: small, fetch: () => Promise.reject(new Error('the upstream is down')) });
    expect((await read(second)).equals(small)).toBe(true);
    expect(two.roles()).toEqual([['follower', 0]]);
    held.open();
    if (isAway) await adopt({ file: aside, digest: digestOf(small), size: small.byteLength, signal: never });
    waits = false;
    await Promise.all([first.ended, second.ended]);
    expect([...one.outcomes(), ...two.outcomes()]).toEqual([isAway ? 'queued' : 'stored', 'stored']);
    await Promise.all(processes.map(({ sharing }) => sharing.close()));
    const left = readdirSync(storage.spoolDirectory, { recursive: true, withFileTypes: true });
    expect(left.filter((entry) => entry.isFile()).map(({ name }) => name)).toEqual([]);
  },
);

it('asks the upstream at once where its own lease, which it lost, is all that the coordinator tells of', async () => {
  const lost = new AbortController();
  const { acquire } = coordinator;
  coordinator.acquire = async (...asked) => {
    const lease = await acquire(...asked);
    return lease && { ...lease, lost: lost.signal };
  };
  const one = startProcess();
  const asked: number[] = [];
  const running = one.start({
    of: large,
    asked,
    async fetch(from) {
      asked.push(from);
      async function* body() {
        yield Uint8Array.from(large.subarray(from, from + MiB));
        lost.abort(new Error('lost'));
        if (from === 0) throw new UpstreamError('unreachable', 'up broke off', { upstream: 'up' });
        yield Uint8Array.from(large.subarray(from + MiB));
      }
      return { kind: 'found', value: { start: from, total: large.byteLength, body: body() } };
    },
  });
  expect((await read(running)).equals(large)).toBe(true);
  expect(asked).toEqual([0, MiB]);
  expect(one.roles()).toEqual([
    ['leader', 0],
    ['alone', MiB],
  ]);
});

const cannotSay = () =>
  Promise.reject(new UpstreamError('server-error', 'up answers HEAD with 500', { upstream: 'up' }));

it('asks the upstream for the blob where it cannot say whether another repository holds what a leader brings', async () => {
  const lease = await leads(small, small, { phase: 'verified' });
  const one = startProcess();
  const running = one.start({ of: small, permission: { place: 'other', said: undefined, ask: cannotSay } });
  expect((await read(running)).equals(small)).toBe(true);
  expect(one.roles()).toEqual([['alone', 0]]);
  await lease.release();
  await running.ended;
});

/** What another process stored just now; the file it was in is open to nobody. */
async function store(of: Uint8Array, as = of): Promise<void> {
  await storage.blobs.put({ digest: digestOf(as), bytes: of, signal: never });
}

it('asks the upstream for the blob where it cannot say whether another repository holds what is stored', async () => {
  const one = startProcess();
  await store(small);
  const running = one.start({ of: small, permission: { place: 'other', said: undefined, ask: cannotSay } });
  expect((await read(running)).equals(small)).toBe(true);
  expect(one.roles()).toEqual([['leader', 0]]);
});

const saysAnotherSize = { place: 'other', said: { size: 1234, named: false }, ask: cannotSay };

it('asks the upstream for the blob where it told of another size than a leader brings, or is stored', async () => {
  const lease = await leads(small, small, { phase: 'verified' });
  await store(large);
  const one = startProcess();
  const both = [small, large].map((of) => one.start({ of, permission: saysAnotherSize }));
  expect((await read(both[0]!)).equals(small)).toBe(true);
  expect((await read(both[1]!)).equals(large)).toBe(true);
  expect(one.roles().sort()).toEqual([
    ['alone', 0],
    ['leader', 0],
  ]);
  await lease.release();
  await Promise.all(both.map(({ ended }) => ended));
});

it('reads what is stored without waiting for a coordinator that takes its time to take a lease back', async () => {
  let takeBack = () => {};
  const taken = new Promise<void>((resolve) => {
    takeBack = resolve;
  });
  const { acquire } = coordinator;
  coordinator.acquire = async (...asked) => {
    const lease = await acquire(...asked);
    return lease && { ...lease, release: () => taken.then(lease.release) };
  };
  const one = startProcess();
  await store(small);
  const running = one.start({ of: small, permission: { place, said: { named: true }, ask: cannotSay } });
  expect((await read(running)).equals(small)).toBe(true);
  expect(one.roles()).toEqual([['stored', 0]]);
  takeBack();
  await expect.poll(() => coordinator.holder(`ingest/up/${digestOf(small)}`), waiting).toBeUndefined();
});

it('keeps nothing of the store open where its clients left before a repository had proved to hold the blob', async () => {
  const one = startProcess();
  await store(small);
  let isAsked = false;
  const ask = (signal: AbortSignal) =>
    new Promise<never>((_resolve, reject) => {
      isAsked = true;
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const running = one.start({ of: small, permission: { place: 'other', said: undefined, ask } });
  await expect.poll(() => isAsked, waiting).toBe(true);
  await Promise.all([
    expect(running.reply).rejects.toThrow(),
    expect(running.verified).rejects.toThrow(),
    ...processes.map(({ ingests }) => ingests.close(0)),
  ]);
  expect(openFiles(directory)).toEqual([]);
});

it('reads nothing from a store that has the blob and cannot give it right, and stores it there anew', async () => {
  const one = startProcess();
  await store(
    Uint8Array.from(large, (byte) => byte ^ 1),
    large,
  );
  const asked: number[] = [];
  const running = one.start({ of: large, asked, storeFailed: true });
  expect((await read(running)).equals(large)).toBe(true);
  await running.ended;
  expect(asked).toEqual([0]);
  expect(one.roles()).toEqual([['leader', 0]]);
  const stored = (await storage.blobs.open(digestOf(large), { signal: never }))!;
  expect(stored.kind).toBe('file');
  const first = new Uint8Array(10);
  if (stored.kind === 'file') await stored.read(first, 0);
  await stored.close();
  expect(first).toEqual(Uint8Array.from(large.subarray(0, 10)));
});

it('stores its own copy where the store has the blob and cannot give it right, though another process leads', async () => {
  await store(
    Uint8Array.from(small, (byte) => byte ^ 1),
    small,
  );
  const lease = await leads(small, small, { phase: 'verified' });
  const one = startProcess();
  const running = one.start({ of: small, storeFailed: true });
  expect((await read(running)).equals(small)).toBe(true);
  await lease.release();
  await running.ended;
  const stored = (await storage.blobs.open(digestOf(small), { signal: never }))!;
  const first = new Uint8Array(10);
  if (stored.kind === 'file') await stored.read(first, 0);
  await stored.close();
  expect(first).toEqual(Uint8Array.from(small.subarray(0, 10)));
});

it('keeps no file, lease or message for what has ended', async () => {
  const one = startProcess();
  const running = one.start({ of: small });
  await running.ended;
  await expect.poll(() => coordinator.holder(`ingest/up/${digestOf(small)}`), waiting).toBeUndefined();
  expect(one.outcomes()).toEqual(['stored']);
});
