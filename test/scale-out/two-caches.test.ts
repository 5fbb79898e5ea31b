import {
  type Coordinator,
  createProxyCache,
  digestOf,
  fileStorage,
  localCoordinator,
  type ProxyCache,
  type ProxyCacheEvent,
  type ProxyCacheOptions,
} from '@proxycache/core';
import { chunkGate, type FakeUpstream, gate, seededBytes, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

const MiB = 1024 * 1024;
const bytes = seededBytes('one flight', 8 * MiB);
const digest = digestOf(bytes);
const gets = { method: 'GET', path: /\/blobs\// };
const heads = { method: 'HEAD', path: /\/blobs\// };
const waiting = { timeout: 15_000, interval: 10 };

let folder: string;
let upstream: FakeUpstream;
let caches: { cache: ProxyCache; events: ProxyCacheEvent[] }[];

beforeEach(async () => {
  folder = makeTemporaryFolder('two-caches');
  upstream = await startFakeUpstream();
  upstream.putBlob('team/app', bytes);
  caches = [];
});
afterEach(async () => {
  await Promise.all(caches.map(({ cache }) => cache.close({ graceMs: 0 })));
  await upstream.stop();
  removeFolder(folder);
});

/** A cache that knows the others by its storage alone. */
function start(coordinator: Coordinator, options: Partial<ProxyCacheOptions> = {}) {
  const events: ProxyCacheEvent[] = [];
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url: upstream.url }],
    storage: { ...fileStorage(folder), coordinator },
    minFree: 0,
    observer: (event) => events.push(event),
    ...options,
  });
  const started = {
    cache,
    events,
    roles: () => events.flatMap((event) => (event.type === 'ingest-shared' ? [[event.role, event.from]] : [])),
    outcomes: () => events.flatMap((event) => (event.type === 'ingest-ended' ? [event.outcome] : [])),
    open: (repository = 'team/app') => cache.fetch(new Request(`http://cache/v2/up/${repository}/blobs/${digest}`)),
    async pull(repository?: string) {
      const response = await started.open(repository);
      const got = Buffer.from(await response.arrayBuffer());
      return { status: response.status, isRight: got.equals(bytes) };
    },
  };
  caches.push(started);
  return started;
}

const right = { status: 200, isRight: true };

test('two caches bring a cold blob in by one request to its upstream', async () => {
  const coordinator = localCoordinator();
  const [one, two] = [start(coordinator), start(coordinator)];
  const gate = chunkGate(MiB);
  upstream.script(gets, [{ throttle: gate }]);
  const first = one.pull();
  await expect.poll(() => one.roles(), waiting).toEqual([['leader', 0]]);
  const second = two.pull();
  await expect.poll(() => two.roles(), waiting).toEqual([['follower', 0]]);
  gate.allow(100);
  expect(await Promise.all([first, second])).toEqual([right, right]);
  expect(upstream.count(gets)).toBe(1);
  await expect.poll(() => [one.outcomes(), two.outcomes()], waiting).toEqual([['stored'], ['stored']]);
  expect(upstream.count(heads)).toBe(0);
});

test('a process that comes when another has just stored the blob reads it from the store', async () => {
  const local = localCoordinator();
  const late = gate();
  const [one, two] = [
    start(local),
    start({
      ...local,
      async acquire(...asked) {
        await late.pass();
        return await local.acquire(...asked);
      },
    }),
  ];
  const second = two.pull();
  await late.reached;
  expect(await one.pull()).toEqual(right);
  await expect.poll(one.outcomes, waiting).toEqual(['stored']);
  await expect.poll(() => local.holder(`ingest/up/${digest}`), waiting).toBeUndefined();
  late.open();
  expect(await second).toEqual(right);
  expect(two.roles()).toEqual([['stored', 0]]);
  expect(upstream.count(gets)).toBe(1);
  // A copy from the store proves nothing of a repository; what the first one wrote down of this one does.
  expect(upstream.count(heads)).toBe(0);
});

test('another repository is given what a process fetches only once it proved to hold it', async () => {
  const coordinator = localCoordinator();
  const [one, two, three] = [start(coordinator), start(coordinator), start(coordinator)];
  upstream.putBlob('team/other', bytes);
  upstream.putBlob('team/without', seededBytes('else', 10));
  const body = chunkGate(MiB);
  upstream.script(gets, [{ throttle: body }]);
  const first = one.pull();
  await expect.poll(one.roles, waiting).toEqual([['leader', 0]]);
  const second = two.pull('team/other');
  expect((await three.pull('team/without')).status).toBe(404);
  await expect.poll(two.roles, waiting).toEqual([['follower', 0]]);
  body.open();
  expect(await Promise.all([first, second])).toEqual([right, right]);
  // SEMANTICS 2: that it has none is confirmed by a GET.
  expect(upstream.count({ method: 'GET', path: /without\/blobs/ })).toBe(1);
  expect(upstream.count(gets)).toBe(2);
  expect(upstream.count(heads)).toBe(2);
  expect(three.roles()).toEqual([]);
});

test('a repository is given nothing by a process that was asked for the same one, and was refused', async () => {
  const coordinator = localCoordinator();
  const [one, two, three] = [start(coordinator), start(coordinator), start(coordinator)];
  const refused = gate();
  upstream.putBlob('team/without', seededBytes('else', 10));
  upstream.script({ method: 'GET', path: /without\/blobs/ }, [{ gate: refused }]);
  const first = one.pull('team/without');
  await expect.poll(one.roles, waiting).toEqual([['leader', 0]]);
  const second = two.pull('team/without');
  const third = three.pull();
  await expect.poll(() => upstream.count(heads), waiting).toBe(1);
  refused.open();
  expect(await third).toEqual(right);
  expect([(await first).status, (await second).status]).toEqual([404, 404]);
});

test('where the leader cannot be read, the other asks by itself, and leaves it to the leader to store', async () => {
  const coordinator = localCoordinator();
  const value = JSON.stringify({ v: 1, owner: 'elsewhere', place: '', spool: 'else~1~2~3/cache-abcdef/0' });
  const { signal } = new AbortController();
  const lease = await coordinator.acquire(`ingest/up/${digest}`, { for: 3_000, value, signal });
  const one = start(coordinator);
  expect(await one.pull()).toEqual(right);
  expect(one.roles()).toEqual([['alone', 0]]);
  expect(one.outcomes()).toEqual([]);
  await lease?.release();
  // It ended without storing it.
  await expect.poll(one.outcomes, waiting).toEqual(['stored']);
  expect(await one.pull()).toEqual(right);
  expect(upstream.count(gets)).toBe(1);
});

test('one of them stores it, however slow the store is', async () => {
  const coordinator = localCoordinator();
  const slow = gate();
  const adopted: string[] = [];
  const { blobs, ...others } = fileStorage(folder);
  const storage = {
    ...others,
    coordinator,
    blobs: {
      ...blobs,
      async adopt(blob: Parameters<typeof blobs.adopt>[0]) {
        adopted.push(blob.digest);
        await slow.pass(blob.signal);
        await blobs.adopt(blob);
      },
    },
  };
  const all = [1, 2, 3].map(() => start(coordinator, { storage }));
  expect(await Promise.all(all.map(({ pull }) => pull()))).toEqual([right, right, right]);
  await slow.reached;
  expect(all.flatMap(({ outcomes }) => outcomes())).toEqual([]);
  slow.open();
  await expect.poll(() => all.flatMap(({ outcomes }) => outcomes()), waiting).toEqual(['stored', 'stored', 'stored']);
  expect(adopted).toEqual([digest]);
  expect(upstream.count(gets)).toBe(1);
});

test('a leader that is closed gives its lease back, and another goes on from where it is', async () => {
  const coordinator = localCoordinator();
  const [one, two] = [start(coordinator), start(coordinator)];
  const body = chunkGate(MiB);
  upstream.script(gets, [{ throttle: body }]);
  const first = one.pull().catch(() => undefined);
  await expect.poll(one.roles, waiting).toEqual([['leader', 0]]);
  const second = two.open();
  await expect.poll(two.roles, waiting).toEqual([['follower', 0]]);
  body.allow(4);
  const reader = (await second).body!.getReader();
  const chunks: Uint8Array[] = [];
  const take = async (until: number) => {
    while (Buffer.concat(chunks).byteLength < until) chunks.push((await reader.read()).value!);
  };
  await take(2 * MiB);
  const closing = one.cache.close({ graceMs: 0, ingests: 'drop' });
  await take(bytes.byteLength);
  expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  await closing;
  await first;
  const takenOver = two.roles().at(-1);
  expect(takenOver?.[0]).toBe('leader');
  expect(takenOver?.[1]).toBeGreaterThanOrEqual(2 * MiB);
  expect(upstream.count(gets)).toBe(2);
  expect(upstream.requests.at(-1)?.headers['range']).toBe(`bytes=${takenOver?.[1]}-`);
  await expect.poll(two.outcomes, waiting).toEqual(['stored']);
});

describe('a coordinator that fails costs no pull', () => {
  const operations = ['acquire', 'holder', 'publish', 'subscribe'] as const;

  test.each(operations)('at "%s"', async (operation) => {
    const failing = {
      ...localCoordinator(),
      [operation]: () => {
        throw new Error('away');
      },
    };
    const [one, two] = [start(failing), start(failing)];
    const body = chunkGate(MiB);
    upstream.script(gets, [{ throttle: body }]);
    const pulls = [one.pull()];
    await expect.poll(() => one.roles().length, waiting).toBe(1);
    pulls.push(two.pull());
    await expect.poll(() => two.roles().length, waiting).toBe(1);
    body.open();
    expect(await Promise.all(pulls)).toEqual([right, right]);
    await expect.poll(() => [...one.outcomes(), ...two.outcomes()], waiting).toEqual(['stored', 'stored']);
    const told = [...one.events, ...two.events].filter(({ type }) => type === 'coordinator-failed');
    expect(told.every((event) => 'operation' in event && event.operation === operation)).toBe(true);
    expect(told.length).toBeGreaterThan(0);
  });

  test.each(operations.slice(0, 3))('that hangs at "%s"', { timeout: 40_000 }, async (operation) => {
    const hanging = { ...localCoordinator(), [operation]: () => new Promise<never>(() => undefined) };
    const [one, two] = [start(hanging), start(hanging)];
    const pulls = await Promise.all([one.pull(), two.pull()]);
    expect(pulls).toEqual([right, right]);
    await expect
      .poll(() => [...one.outcomes(), ...two.outcomes()], { ...waiting, timeout: 30_000 })
      .toEqual(['stored', 'stored']);
  });
});

test('a verified blob waits where neither its store nor the coordinator answers, and is read from there', async () => {
  const away = async () => {
    throw new Error('away');
  };
  const { blobs, ...rest } = fileStorage(folder);
  const coordinator = { ...localCoordinator(), acquire: away, holder: away, publish: away };
  const lonely = start(coordinator, {
    storage: { ...rest, blobs: { ...blobs, open: away, adopt: away }, coordinator },
  });
  expect(await lonely.pull()).toEqual(right);
  await expect.poll(lonely.outcomes, waiting).toEqual(['queued']);
  expect(await lonely.pull()).toEqual(right);
  expect(upstream.count(gets)).toBe(1);
});
