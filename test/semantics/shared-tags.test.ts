import {
  type BlobStore,
  type Coordinator,
  createProxyCache,
  type Lease,
  localCoordinator,
  type MetadataStore,
  memoryStorage,
  type ProxyCache,
  type ProxyCacheEvent,
  type Storage,
  type UpstreamOptions,
} from '@proxycache/core';
import { gate, type ManualClock, manualClock } from '@proxycache/test-kit';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { startUpstream } from './cache-under-test.ts';
import { patient } from './patient.ts';

const heads = { method: 'HEAD', path: /\/manifests\// };
const gets = { method: 'GET', path: /\/manifests\// };
const waiting = { timeout: 20_000, interval: 5 };

let clock: ManualClock;
let storage: Storage;
let coordinator: Coordinator;
let events: ProxyCacheEvent[];
let upstream: Awaited<ReturnType<typeof startUpstream>>;

beforeEach(async () => {
  clock = manualClock();
  storage = memoryStorage({ clock });
  coordinator = localCoordinator();
  events = [];
  upstream = await startUpstream();
});

/** A cache as another process on the same storage has it. */
function replica(
  options: Partial<UpstreamOptions> = {},
  { clock: own = clock, ...parts }: Partial<Storage> & { clock?: ManualClock } = {},
): ProxyCache {
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url: upstream.url, retry: { attempts: 1 }, ...patient, freshFor: '1m', ...options }],
    storage: { ...storage, coordinator, ...parts },
    clock: own,
    observer: (event) => events.push(event),
  });
  onTestFinished(async () => {
    const closing = cache.close({ graceMs: 0 });
    await own.advance(0);
    await closing;
  });
  return cache;
}

const replicas = (count: number, options?: Partial<UpstreamOptions>) =>
  Array.from({ length: count }, () => replica(options));

async function ask(cache: ProxyCache, method: 'GET' | 'HEAD' = 'GET') {
  const response = await cache.fetch(new Request('http://cache/v2/up/team/app/manifests/1', { method }));
  await response.arrayBuffer();
  const header = (name: string) => response.headers.get(name);
  return {
    status: response.status,
    digest: header('docker-content-digest'),
    how: header('cache-status'),
    warning: header('warning'),
    age: header('age'),
  };
}

const failures = () => events.filter(({ type }) => type === 'store-failed' || type === 'coordinator-failed');

const digests = (answers: readonly { digest: string | null }[]) => [...new Set(answers.map(({ digest }) => digest))];

/** Holds what the upstream is asked, until all have come, as far as they come. */
async function together<T>(asks: readonly (() => Promise<T>)[], match: typeof heads | typeof gets): Promise<T[]> {
  const held = gate();
  upstream.on(match, { gate: held });
  const answers = Promise.all(asks.map((one) => one()));
  await held.reached;
  // A turn for whoever is yet to come.
  await clock.advance(0);
  held.open();
  return answers;
}

describe('processes that share their records and a coordinator', () => {
  test('ask once about a stale tag, at whatever instant within freshFor they are asked', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const caches = replicas(4);
    for (const cache of caches) await ask(cache);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET']);
    await clock.advance(60_000);
    upstream.clear();
    for (const cache of caches) {
      const { digest, warning } = await ask(cache);
      expect({ digest, warning }).toEqual({ digest: image.root.digest, warning: null });
      await clock.advance(1_000);
    }
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
    expect(failures()).toEqual([]);
  });

  test('ask once about a stale tag that all are asked for at the same instant', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const caches = replicas(4);
    for (const cache of caches) await ask(cache);
    await clock.advance(60_000);
    upstream.clear();
    const asks = caches.flatMap((cache) => [() => ask(cache), () => ask(cache, 'HEAD')]);
    const answers = await together(asks, heads);
    expect(digests(answers)).toEqual([image.root.digest]);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
    expect(answers.filter(({ how }) => how?.includes('collapsed'))).toHaveLength(7);
  });

  test('fetch a tag that nobody knew once, and bring in once what it has become', async () => {
    const caches = replicas(4);
    upstream.addImage('team/app', { tag: '1', seed: 'old' });
    await together(
      caches.map((cache) => () => ask(cache)),
      gets,
    );
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET']);
    await clock.advance(60_000);
    upstream.clear();
    const moved = upstream.addImage('team/app', { tag: '1', seed: 'new' });
    const answers = await together(
      caches.map((cache) => () => ask(cache)),
      heads,
    );
    expect(digests(answers)).toEqual([moved.root.digest]);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });

  test('look once at a tag that clients begin with by HEAD', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const answers = await together(
      replicas(4).map((cache) => () => ask(cache, 'HEAD')),
      heads,
    );
    expect(digests(answers)).toEqual([image.root.digest]);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
  });

  test('hear together that a tag is gone, and that it is back', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const caches = replicas(4);
    for (const cache of caches) await ask(cache);
    upstream.removeTag('team/app', '1');
    await clock.advance(60_000);
    upstream.clear();
    const gone = await together(
      caches.map((cache) => () => ask(cache)),
      heads,
    );
    expect(gone.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
    // SEMANTICS 2: a HEAD's 404 is confirmed by a GET.
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
    upstream.addImage('team/app', { tag: '1' });
    expect(digests(await Promise.all(caches.map((cache) => ask(cache))))).toEqual([image.root.digest]);
  });

  test('each say for themselves that a tag never was', async () => {
    const answers = await together(
      replicas(3).map((cache) => () => ask(cache)),
      gets,
    );
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
  });

  test('serve what is stored, and each asks for itself, when the one that asked got no answer', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const caches = replicas(3);
    for (const cache of caches) await ask(cache);
    await clock.advance(60_000);
    upstream.on({}, { status: 503 });
    const answers = await together(
      caches.map((cache) => () => ask(cache)),
      heads,
    );
    expect(digests(answers)).toEqual([image.root.digest]);
    for (const { warning } of answers) expect(warning).toMatch(/^299 - "stale: up is unavailable/);
  });

  test('serve during an outage what any of them validated last', async () => {
    upstream.addImage('team/app', { tag: '1', seed: 'old' });
    const [one, other] = replicas(2, { freshFor: 0 }) as [ProxyCache, ProxyCache];
    await ask(one);
    await ask(other);
    const moved = upstream.addImage('team/app', { tag: '1', seed: 'new' });
    await ask(other);
    upstream.on({}, { status: 503 });
    expect((await ask(one)).digest).toBe(moved.root.digest);
  });

  test('validate behind the answer once, and not again where another has done it', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const caches = replicas(3, { staleWhileRevalidateFor: '1h' });
    for (const cache of caches) await ask(cache);
    await clock.advance(60_000);
    upstream.clear();
    for (const cache of caches) {
      expect(await ask(cache)).toMatchObject({ digest: image.root.digest, age: '60', how: 'proxycache; hit' });
      await expect.poll(async () => (await ask(cache)).age, waiting).toBe('0');
    }
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
  });

  test('ask nobody and read nothing for what is fresh in memory', async () => {
    upstream.addImage('team/app', { tag: '1' });
    const calls: string[] = [];
    const counted = <T extends object>(of: T): T =>
      new Proxy(of, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== 'function') return member;
          return (...args: unknown[]) => {
            calls.push(String(name));
            return Reflect.apply(member, target, args);
          };
        },
      });
    const cache = replica({}, { coordinator: counted(coordinator), metadata: counted(storage.metadata) });
    await ask(cache);
    await expect.poll(() => coordinator.holder('validate/up/-/team%2Fapp/1'), waiting).toBeUndefined();
    await clock.advance(59_999);
    calls.length = 0;
    for (let i = 0; i < 10; i++) await ask(cache);
    expect(calls).toEqual([]);
  });

  test('take no lease where nothing stays fresh: each pull asks', async () => {
    upstream.addImage('team/app', { tag: '1' });
    const taken: string[] = [];
    coordinator = {
      ...coordinator,
      acquire(key) {
        taken.push(key);
        return Promise.reject(new Error(key));
      },
    };
    const [one, other] = replicas(2, { freshFor: 0 }) as [ProxyCache, ProxyCache];
    await ask(one);
    await ask(other);
    await ask(one);
    expect(taken).toEqual([]);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET', 'HEAD', 'HEAD']);
  });

  test('ask once although the clocks of their hosts differ by seconds', async () => {
    upstream.addImage('team/app', { tag: '1' });
    const ahead = manualClock({ now: clock.now() + 4_000 });
    const [one, other] = [replica({}, { clock: ahead }), replica()];
    await ask(one);
    await ask(other);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET']);
  });

  test('each ask for themselves when the clocks of their hosts differ by more than they tolerate', async () => {
    upstream.addImage('team/app', { tag: '1' });
    const ahead = manualClock({ now: clock.now() + 6_000 });
    const [one, other] = [replica({}, { clock: ahead }), replica()];
    await ask(one);
    await ask(other);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET', 'HEAD']);
  });

  test('do not tell of a tag whose manifest is still on its way to the store they share', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const held = gate();
    const blobs: BlobStore = {
      ...storage.blobs,
      async put(blob) {
        await held.pass(blob.signal);
        return storage.blobs.put(blob);
      },
    };
    const first = ask(replica({}, { blobs }));
    await held.reached;
    let looks = 0;
    const metadata: MetadataStore = {
      ...storage.metadata,
      get(...args) {
        looks++;
        return storage.metadata.get(...args);
      },
    };
    let isAnswered = false;
    const second = ask(replica({}, { metadata })).finally(() => {
      isAnswered = true;
    });
    const hasLookedOrAsked = async () => {
      await clock.advance(100);
      return isAnswered || looks > 5;
    };
    await expect.poll(hasLookedOrAsked, waiting).toBe(true);
    held.open();
    expect(digests(await Promise.all([first, second]))).toEqual([image.root.digest]);
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET']);
  });

  test('fetch a manifest that the record tells of and the store has not', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    await ask(replica());
    await storage.blobs.delete(image.root.digest, { signal: AbortSignal.timeout(20_000) });
    expect((await ask(replica())).digest).toBe(image.root.digest);
    await clock.advance(60_000);
    await storage.blobs.delete(image.root.digest, { signal: AbortSignal.timeout(20_000) });
    expect((await ask(replica())).digest).toBe(image.root.digest);
  });
});

test('processes ask once per freshFor also by a coordinator whose tokens are lower than those of the one before', async () => {
  upstream.addImage('team/app', { tag: '1' });
  await ask(replica());
  await clock.advance(60_000);
  upstream.clear();
  let token = 0;
  const real = localCoordinator();
  coordinator = {
    ...real,
    async acquire(...args) {
      const lease = await real.acquire(...args);
      return lease && { ...lease, token: ++token };
    },
  };
  const [one, other] = replicas(2) as [ProxyCache, ProxyCache];
  for (let rounds = 1; rounds <= 2; rounds++) {
    await ask(one);
    await expect.poll(() => real.holder('validate/up/-/team%2Fapp/1'), waiting).toBeUndefined();
    await ask(other);
    expect(upstream.count(heads)).toBe(rounds);
    await clock.advance(60_000);
  }
  expect(failures()).toEqual([]);
});

describe('processes that share their records, and whose upstream of one key has another URL, or another identity', () => {
  test('do not take for an answer what was said to the other', async () => {
    const other = await startUpstream();
    const [image, otherImage] = [upstream, other].map((one, at) =>
      one.addImage('team/app', { tag: '1', seed: `${at}` }),
    );
    const held = gate();
    upstream.on(heads, { gate: held });
    const [one, two] = [replica(), replica({ url: other.url })];
    const first = ask(one, 'HEAD');
    await held.reached;
    const second = ask(two, 'HEAD');
    await clock.untilPending(1);
    held.open();
    expect((await first).digest).toBe(image?.root.digest);
    await clock.advance(100);
    expect((await second).digest).toBe(otherImage?.root.digest);
    // Nor is it fresh for the one because it is for the other.
    for (const cache of [two, one, two, one]) {
      expect((await ask(cache)).digest).toBe((cache === one ? image : otherImage)?.root.digest);
    }
  });

  test('ask for themselves where the other was denied, or told that there is none', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const [one, other] = [replica(), replica({ auth: { token: 'another' }, absentFor: '1h' })] as const;
    await ask(one);
    await ask(other);
    await clock.advance(60_000);
    upstream.on({}, { status: 403 });
    expect((await ask(other)).status).toBe(403);
    upstream.heal();
    expect((await ask(one)).digest).toBe(image.root.digest);
    await clock.advance(60_000);
    upstream.removeTag('team/app', '1');
    expect((await ask(other)).status).toBe(404);
    upstream.addImage('team/app', { tag: '1' });
    expect((await ask(one)).digest).toBe(image.root.digest);
  });

  test('serve what the other was told last while the upstream fails', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const [one, other] = [replica(), replica({ auth: { token: 'another' } })] as const;
    await ask(one);
    await ask(other);
    await clock.advance(60_000);
    await ask(one);
    upstream.on({}, { status: 503 });
    expect(await ask(other)).toMatchObject({ digest: image.root.digest, warning: expect.stringMatching(/^299/) });
  });
});

describe('whoever finds that another process asks', () => {
  const key = 'validate/up/-/team%2Fapp/1';
  const take = async () => (await coordinator.acquire(key, { for: 1, signal: new AbortController().signal })) as Lease;

  test('waits half of validateWithin for it, and has an answer of its own in time', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const cache = replica({ validateWithin: '2s' });
    await ask(cache);
    await clock.advance(60_000);
    upstream.clear();
    await expect.poll(() => coordinator.holder(key), waiting).toBeUndefined();
    const lease = await take();
    const held = gate();
    upstream.on(heads, { gate: held });
    let answer: Awaited<ReturnType<typeof ask>> | undefined;
    void ask(cache).then((got) => {
      answer = got;
    });
    for (let waited = 0; waited < 900; waited += 100) await clock.advance(100);
    expect(upstream.requests).toEqual([]);
    await clock.advance(200);
    await held.reached;
    held.open();
    await expect.poll(() => answer, waiting).toMatchObject({ digest: image.root.digest, warning: null });
    await lease.release();
  });

  test('asks as soon as the other has let go without an answer', async () => {
    upstream.addImage('team/app', { tag: '1' });
    const lease = await take();
    const cache = replica();
    const answer = ask(cache);
    await clock.untilPending(1);
    expect(upstream.requests).toEqual([]);
    await lease.release();
    await expect
      .poll(async () => {
        await clock.advance(100);
        return upstream.requests.length;
      }, waiting)
      .toBe(1);
    expect((await answer).status).toBe(200);
  });

  test('leaves with its client', async () => {
    upstream.addImage('team/app', { tag: '1' });
    const lease = await take();
    const real = coordinator;
    let acquires = 0;
    coordinator = {
      ...real,
      acquire(...args) {
        acquires++;
        return real.acquire(...args);
      },
    };
    const cache = replica();
    const left = new AbortController();
    const request = new Request('http://cache/v2/up/team/app/manifests/1', { signal: left.signal });
    const answer = cache.fetch(request).catch(() => undefined);
    await expect.poll(() => acquires, waiting).toBe(2);
    left.abort();
    await answer;
    const before = acquires;
    await clock.advance(10_000);
    expect(upstream.requests).toEqual([]);
    expect(acquires).toBe(before);
    await lease.release();
  });
});

describe('a coordinator', () => {
  const away = (acquire: Coordinator['acquire']): Coordinator => ({
    ...localCoordinator(),
    acquire,
    publish: () => Promise.reject(new Error('away')),
    subscribe() {
      throw new Error('away');
    },
  });

  test('that fails costs nothing but the sharing, and is told once', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    coordinator = away(() => Promise.reject(new Error('away')));
    const cache = replica();
    for (let i = 0; i < 3; i++) {
      expect((await ask(cache)).digest).toBe(image.root.digest);
      await clock.advance(60_000);
    }
    expect(upstream.requests.map(({ method }) => method)).toEqual(['GET', 'HEAD', 'HEAD']);
    expect(failures()).toMatchObject([{ error: expect.stringContaining('away') }]);
  });

  test('that hangs is waited for by its deadline, and then left alone', async () => {
    upstream.addImage('team/app', { tag: '1' });
    let asked = 0;
    coordinator = away(() => {
      asked++;
      return new Promise(() => undefined);
    });
    const cache = replica({ freshFor: 1 });
    for (let i = 0; i < 6; i++) {
      let status: number | undefined;
      void ask(cache).then((answer) => {
        status = answer.status;
      });
      await expect
        .poll(async () => {
          await clock.advance(10);
          return status;
        }, waiting)
        .toBe(200);
    }
    expect(asked).toBe(3);
    expect(failures()).toHaveLength(1);
  });

  test('that gives a lease too late gets it back', async () => {
    upstream.addImage('team/app', { tag: '1' });
    const late = gate();
    const real = localCoordinator();
    coordinator = {
      ...real,
      acquire: async (...args) => {
        await late.pass();
        return real.acquire(args[0], { ...args[1], signal: new AbortController().signal });
      },
    };
    const cache = replica();
    const answer = ask(cache);
    await late.reached;
    await clock.advance(2_000);
    expect((await answer).status).toBe(200);
    late.open();
    await clock.advance(0);
    await expect.poll(() => real.holder('validate/up/-/team%2Fapp/1'), waiting).toBeUndefined();
  });
});

test('a process that stood still does not overwrite what was learnt under a later lease, whatever its clock says', async () => {
  const old = upstream.addImage('team/app', { tag: '1', seed: 'old' });
  const stolen: Lease[] = [];
  const real = coordinator;
  coordinator = {
    ...real,
    async acquire(...args) {
      const lease = await real.acquire(...args);
      if (lease) stolen.push(lease);
      return lease;
    },
  };
  const ahead = manualClock({ now: clock.now() + 3_600_000 });
  const sets: { fence: number | undefined; written: boolean }[] = [];
  const metadata: MetadataStore = {
    ...storage.metadata,
    async set(key, value, options) {
      const written = await storage.metadata.set(key, value, options);
      if (key.startsWith('tag/')) sets.push({ fence: options.fence, written });
      return written;
    },
  };
  const [one, other] = [replica({}, { clock: ahead, metadata }), replica()];
  expect((await ask(one)).digest).toBe(old.root.digest);
  await ahead.advance(60_000);
  await clock.advance(7_200_000);
  ahead.set(clock.now() + 3_600_000);
  await expect.poll(() => real.holder('validate/up/-/team%2Fapp/1'), waiting).toBeUndefined();
  // It asks, and the answer that the tag is still right takes its time.
  const held = gate();
  upstream.on({ ...heads, times: 1 }, { gate: held });
  const late = ask(one);
  await held.reached;
  // Its lease ends meanwhile, the tag moves, another process learns of it.
  await stolen.at(-1)?.release();
  const moved = upstream.addImage('team/app', { tag: '1', seed: 'new' });
  const before = sets.length;
  expect((await ask(other)).digest).toBe(moved.root.digest);
  upstream.on(
    { ...heads, times: 1 },
    {
      status: 200,
      headers: {
        'docker-content-digest': old.root.digest,
        'content-type': old.root.mediaType,
        'content-length': String(old.root.size),
      },
    },
  );
  held.open();
  await late;
  await expect.poll(() => sets.slice(before).map(({ written }) => written), waiting).toContain(false);
  const signal = AbortSignal.timeout(20_000);
  const record = await storage.metadata.get('tag/up/-/team%2Fapp/1', { signal });
  expect(record?.value).toContain(moved.root.digest);
  expect(failures()).toMatchObject([{ operation: 'metadata-set', error: expect.stringContaining('later lease') }]);
});
