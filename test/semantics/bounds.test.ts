import { chunkGate, type FlakyStorage, flakyStore, gate, type RequestMatch, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { slowClient } from '../faults/slow-client.ts';
import { digestOfBody, startCache, startPair, startUpstream } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';
import { recordSpans } from './recorded-spans.ts';

const at = { path: '/v2/up/team/app', tag: '1' };
const byTag = '/v2/up/team/app/manifests/1';
const manifests: RequestMatch = { path: /\/manifests\// };
const blobs: RequestMatch = { path: /\/blobs\// };

describe('32: how long a request waits for its upstream', () => {
  test.each([
    ['a manifest by tag', 'manifestWithin', (digest: string) => `/v2/up/team/app/manifests/${digest && '1'}`],
    ['a manifest by digest', 'manifestWithin', (digest: string) => `/v2/up/team/app/manifests/${digest}`],
    ['a list of tags', 'manifestWithin', () => '/v2/up/team/app/tags/list'],
    ['a list of referrers', 'manifestWithin', (digest: string) => `/v2/up/team/app/referrers/${digest}`],
    ['a blob', 'blobWithin', (digest: string) => `/v2/up/team/app/blobs/${digest}`],
  ] as const)('%s with nothing stored: %s, then 504', async (_what, option, pathOf) => {
    const { upstream, cache } = await startPair({ [option]: '7s' });
    const image = upstream.addImage('team/app', { tag: '1' });
    upstream.on({}, { hang: true });
    const path = pathOf(option === 'blobWithin' ? image.config.digest : image.root.digest);
    for (const method of ['GET', 'HEAD']) {
      upstream.clear();
      let status: number | undefined;
      const waiting = cache.get(path, { method }).then((got) => {
        status = got.status;
      });
      await expect.poll(() => upstream.requests.length).toBe(1);
      await cache.clock.advance(6_999);
      expect(status).toBeUndefined();
      await cache.clock.advance(1);
      await waiting;
      expect(status).toBe(504);
    }
  });

  test.each([
    ['manifests/1', 10_000],
    // A token service has 30 s of its own.
    [`blobs/sha256:${'a1'.repeat(32)}`, 30_000],
  ])('a token service that hangs counts in: %s is 504 after %i ms', async (path, ms) => {
    const upstream = await startUpstream({ auth: { bearer: {} } });
    upstream.on({ path: '/token' }, { hang: true });
    const cache = await startCache({ upstreams: [{ key: 'up', url: upstream.url, timeouts: { headers: '2m' } }] });
    const waiting = cache.get(`/v2/up/team/app/${path}`);
    await expect.poll(() => upstream.count({ path: '/token' })).toBe(1);
    await cache.clock.advance(ms - 1);
    expect(cache.seen('request')).toEqual([]);
    await cache.clock.advance(1);
    expect((await waiting).status).toBe(504);
  });

  test('a manifest whose bytes stop coming does not hold a request for longer than the idle timeout', async () => {
    const { upstream, cache } = await startPair({ timeouts: { idle: '3s' } });
    upstream.addImage('team/app', { tag: '1' });
    upstream.on({ method: 'GET', ...manifests }, { stallAfter: 10 });
    const waiting = cache.get(byTag);
    await expect.poll(() => upstream.requests[0]?.sentBytes).toBe(10);
    await cache.clock.advance(10_000);
    expect((await waiting).status).toBe(504);
  });

  test('a validation: validateWithin, then the stored image', async () => {
    const { upstream, cache } = await startPair({ validateWithin: '500ms' });
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    upstream.clear();
    upstream.on({}, { hang: true });
    const waiting = pullImage(cache, at);
    await expect.poll(() => upstream.requests.length).toBe(1);
    await cache.clock.advance(500);
    expect((await waiting).digest).toBe(image.root.digest);
  });

  test('a copy too old to be served does not shorten the wait: as if nothing were stored, for tags and referrers', async () => {
    const { upstream, cache } = await startPair({ staleIfErrorFor: 0, validateWithin: '2s', manifestWithin: '10s' });
    const image = upstream.addImage('team/app', { tag: '1' });
    upstream.addReferrer('team/app', { subject: image.root, artifactType: 'application/signature' });
    for (const path of [byTag, `/v2/up/team/app/referrers/${image.root.digest}`]) {
      await cache.get(path);
      await cache.clock.advance(1_000);
      const held = gate();
      upstream.clear();
      upstream.on({ times: 1 }, { gate: held });
      const waiting = cache.get(path);
      await held.reached;
      await cache.clock.advance(2_500);
      held.open();
      const got = await waiting;
      expect([got.status, got.headers['warning']]).toEqual([200, undefined]);
    }
  });

  describe('who joins what was asked before', () => {
    type Ask = { method?: 'GET' | 'HEAD'; path: string; waits: string };
    const asks = (digest: string): Record<string, Ask> => ({
      'a manifest by tag': { path: byTag, waits: 'wait: ask for tag' },
      'a HEAD by tag': { path: byTag, method: 'HEAD', waits: 'wait: ask for tag' },
      'a manifest by digest': { path: `/v2/up/team/app/manifests/${digest}`, waits: 'wait: ask for manifest' },
      'a HEAD by digest': {
        path: `/v2/up/team/app/manifests/${digest}`,
        method: 'HEAD',
        waits: 'wait: ask for manifest',
      },
      'a list of tags': { path: '/v2/up/team/app/tags/list', waits: 'wait: ask for tags' },
      'a list of referrers': { path: `/v2/up/team/app/referrers/${digest}`, waits: 'wait: ask for referrers' },
    });

    /** One whose question the upstream takes and never answers; `join` asks the same, and resolves when it waits for that. */
    async function startLost(what: string, times = 1) {
      const { tracing, spans } = recordSpans();
      const { upstream, cache } = await startPair({ cache: { tracing } });
      const image = upstream.addImage('team/app', { tag: '1' });
      upstream.addReferrer('team/app', { subject: image.root, artifactType: 'application/signature' });
      const { path, method = 'GET', waits } = asks(image.root.digest)[what]!;
      upstream.on({ times }, { hang: true });
      const ask = async () => {
        const { status } = await cache.get(path, { method });
        return { status, at: cache.clock.monotonic() };
      };
      const startedAt = cache.clock.monotonic();
      const first = ask();
      await expect.poll(() => upstream.requests.length).toBe(1);
      const joined = () => spans.filter(({ name }) => name === waits).length;
      const join = async () => {
        const before = joined();
        const answer = ask();
        await expect.poll(joined).toBe(before + 1);
        return { answer };
      };
      return { upstream, cache, startedAt, first, join };
    }

    test.each(Object.keys(asks('')))(
      'late, %s, got 504 after the rest of somebody else’s time: all of them ask once more',
      async (what) => {
        const { upstream, cache, first, join } = await startLost(what);
        await cache.clock.advance(9_000);
        const joiners = [await join(), await join()];
        await cache.clock.advance(1_000);
        expect((await first).status).toBe(504);
        for (const { answer } of joiners) expect((await answer).status).toBe(200);
        expect(upstream.requests.length).toBe(2);
      },
    );

    test.each(Object.keys(asks('')))('waits no longer than from when it began to: %s', async (what) => {
      const { upstream, cache, startedAt, first, join } = await startLost(what, 2);
      await cache.clock.advance(6_000);
      const { answer } = await join();
      await cache.clock.advance(4_000);
      expect((await first).status).toBe(504);
      await expect.poll(() => upstream.requests.length).toBe(2);
      await cache.clock.advance(6_000);
      expect(await answer).toEqual({ status: 504, at: startedAt + 16_000 });
    });

    test.each(Object.keys(asks('')))(
      'late, %s, got 504 after what the first of those who asked again had left: each has his own time',
      async (what) => {
        const { upstream, cache, startedAt, first, join } = await startLost(what);
        const held = gate();
        upstream.on({ times: 1 }, { gate: held });
        await cache.clock.advance(2_000);
        const early = await join();
        await cache.clock.advance(7_000);
        const late = await join();
        await cache.clock.advance(1_000);
        expect((await first).status).toBe(504);
        await held.reached;
        await cache.clock.advance(2_000);
        expect(await early.answer).toEqual({ status: 504, at: startedAt + 12_000 });
        await cache.clock.advance(5_000);
        held.open();
        expect((await late.answer).status).toBe(200);
        expect(upstream.requests.length).toBe(2);
      },
    );

    test('ends the question that was asked again when the last who waits for it leaves', async () => {
      const { upstream, cache, startedAt, first, join } = await startLost('a manifest by tag', 2);
      await cache.clock.advance(6_000);
      const joiners = [await join(), await join()];
      await cache.clock.advance(4_000);
      expect((await first).status).toBe(504);
      await expect.poll(() => upstream.requests.length).toBe(2);
      await cache.clock.advance(6_000);
      for (const { answer } of joiners) expect(await answer).toEqual({ status: 504, at: startedAt + 16_000 });
      await expect.poll(() => upstream.requests[1]!.aborted).toBe(true);
      expect(cache.seen('upstream-request').map(({ error }) => error)).toEqual(['timeout', 'timeout']);
      expect(cache.cache.upstreams.status()[0]!.hosts).toMatchObject([{ failures: 2 }]);
    });

    test('shares the failure when it has no time left to ask', async () => {
      const { upstream, cache, first, join } = await startLost('a manifest by tag');
      await cache.clock.advance(900);
      const { answer } = await join();
      await cache.clock.advance(9_100);
      expect([(await first).status, (await answer).status]).toEqual([504, 504]);
      expect(upstream.requests.length).toBe(1);
    });
  });

  test('a part of a cold blob: blobWithin for the proof and the bytes together', async () => {
    const { upstream, cache } = await startPair({ blobWithin: '10s' });
    const digest = upstream.putBlob('team/app', seededBytes('blob', 1000));
    const held = gate();
    upstream.on({ method: 'HEAD' }, { gate: held });
    upstream.on({ method: 'GET' }, { hang: true });
    const waiting = cache.get(`/v2/up/team/app/blobs/${digest}`, { headers: { range: 'bytes=0-9' } });
    await held.reached;
    await cache.clock.advance(6_000);
    held.open();
    await expect.poll(() => upstream.count({ method: 'GET' })).toBe(1);
    await cache.clock.advance(4_000);
    expect((await waiting).status).toBe(504);
  });

  test('a validation that needs a GET to be sure has validateWithin for both', async () => {
    const { upstream, cache } = await startPair({ fake: { personality: 'head-404' } });
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at, 'get-by-tag');
    upstream.clear();
    upstream.on({ method: 'GET', ...manifests }, { hang: true });
    const waiting = pullImage(cache, at, 'get-by-tag');
    await expect.poll(() => upstream.requests.length).toBe(2);
    await cache.clock.advance(2_000);
    expect((await waiting).digest).toBe(image.root.digest);
  });

  test('a client that leaves ends the upstream’s request when nobody else waits for it', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    upstream.on(manifests, { hang: true });
    const [one, two] = [new AbortController(), new AbortController()];
    const waiting = [one, two].map(({ signal }) => cache.get(byTag, { signal }).catch(() => 'left'));
    await expect.poll(() => upstream.requests.length).toBe(1);
    one.abort();
    await waiting[0];
    await new Promise((resolve) => setImmediate(resolve));
    expect(upstream.requests[0]!.aborted).toBe(false);
    two.abort();
    await waiting[1];
    await expect.poll(() => upstream.requests[0]!.aborted).toBe(true);
  });
});

describe('38: how much a cache bears', () => {
  test('clients that asked for parts of a cold blob and did not read kept all other blobs of the upstream out', async () => {
    const { upstream, cache } = await startPair({ limits: { maxConnections: 8, queueFor: '3s' } });
    const bytes = seededBytes('large', 16 * 1024 * 1024);
    const digest = upstream.putBlob('team/app', bytes);
    const other = upstream.putBlob('team/other', seededBytes('other', 3_000));
    const from = (start: number) => `bytes=${start}-${bytes.byteLength - 2}`;
    const path = `/v2/up/team/app/blobs/${digest}`;
    const idle = [1, 2, 3, 4, 5, 6].map((start) => slowClient(`${cache.url}${path}`, from(start)));
    // Three pass; the others have waited long enough then, and follow one transfer.
    await expect.poll(() => upstream.count({ method: 'GET' })).toBe(3);
    await cache.clock.advance(2_000);
    await expect.poll(() => upstream.count({ method: 'GET' })).toBe(4);
    const got = await cache.get(`/v2/up/team/other/blobs/${other}`);
    expect([got.status, digestOfBody(got.body)]).toEqual([200, other]);
    const parts = await Promise.all(idle.map(async (client) => (await client).rest()));
    expect(parts.map((one, index) => Buffer.compare(one, bytes.subarray(index + 1, -1)))).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test('requests over maxRequests are 503 with Retry-After; answered ones make room', async () => {
    const { upstream, cache } = await startPair({ cache: { maxRequests: 2 } });
    upstream.addImage('team/app', { tag: '1' });
    const held = gate();
    upstream.on(manifests, { gate: held });
    const first = [cache.get(byTag), cache.get('/v2/up/team/app/manifests/2')];
    await held.reachedBy(2);
    const refused = await cache.get('/v2/');
    expect([refused.status, refused.errorCode, refused.headers['retry-after']]).toEqual([503, 'UNAVAILABLE', '1']);
    expect(cache.seen('request').at(-1)).toMatchObject({ status: 503, error: 'too-many-requests' });
    held.open();
    await Promise.all(first);
    expect((await cache.get('/v2/')).status).toBe(200);
  });

  test('a body under way counts, until it is through or its client has left', async () => {
    const { upstream, cache } = await startPair({ cache: { maxRequests: 1 } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [4 * 1024 * 1024] });
    const chunks = chunkGate(64 * 1024);
    upstream.on(blobs, { throttle: chunks });
    const client = new AbortController();
    const path = `/v2/up/team/app/blobs/${image.layers[0]!.digest}`;
    const waiting = cache.get(path, { signal: client.signal }).catch(() => 'left');
    chunks.allow(40);
    await expect.poll(() => upstream.requests.at(-1)?.sentBytes ?? 0).toBeGreaterThan(2 * 1024 * 1024);
    expect((await cache.get('/v2/')).status).toBe(503);
    client.abort();
    await waiting;
    await expect.poll(async () => (await cache.get('/v2/')).status).toBe(200);
    chunks.open();
    const whole = await cache.get(path);
    expect(digestOfBody(whole.body)).toBe(image.layers[0]!.digest);
    expect((await cache.get('/v2/')).status).toBe(200);
  });

  test('a web response that nobody read kept its place for ever', async () => {
    const { upstream, cache } = await startPair({ cache: { maxRequests: 2 } });
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [2 * 1024 * 1024] });
    const path = `/v2/up/team/app/blobs/${image.layers[0]!.digest}`;
    const open = () => cache.cache.fetch(new Request(`http://cache.example${path}`));
    await (await open()).arrayBuffer();
    const dropped = [await open(), await open()];
    expect(dropped.map(({ status }) => status)).toEqual([200, 200]);
    expect((await cache.get('/v2/')).status).toBe(503);
    await cache.clock.advance(5 * 60_000);
    expect((await cache.get('/v2/')).status).toBe(200);
    await expect(dropped[0]!.arrayBuffer()).rejects.toMatchObject({ code: 'aborted' });
    expect(digestOfBody(new Uint8Array(await (await open()).arrayBuffer()))).toBe(image.layers[0]!.digest);
  });

  test('a request whose client left while it waited makes room at once', async () => {
    const { upstream, cache } = await startPair({ cache: { maxRequests: 1 } });
    upstream.on(manifests, { hang: true });
    for (let i = 0; i < 3; i++) {
      upstream.clear();
      const client = new AbortController();
      const waiting = cache.get(byTag, { signal: client.signal }).catch(() => 'left');
      await expect.poll(() => upstream.requests.length).toBe(1);
      client.abort();
      await waiting;
      await expect.poll(async () => (await cache.get('/v2/')).status).toBe(200);
    }
  });

  test('web requests whose body nobody reads make room when their caller aborts', async () => {
    const { upstream, cache } = await startPair({ cache: { maxRequests: 1 } });
    const image = upstream.addImage('team/app', { tag: '1' });
    const path = `/v2/up/team/app/blobs/${image.layers[0]!.digest}`;
    await cache.get(path);
    const caller = new AbortController();
    const unread = await cache.cache.fetch(new Request(`http://cache.example${path}`, { signal: caller.signal }));
    expect(unread.status).toBe(200);
    expect((await cache.get('/v2/')).status).toBe(503);
    caller.abort();
    await expect.poll(async () => (await cache.get('/v2/')).status).toBe(200);
  });

  test('too many ranges are 400, many are served', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    const path = `/v2/up/team/app/blobs/${image.layers[0]!.digest}`;
    await cache.get(path);
    const ranges = (count: number) => `bytes=${Array.from({ length: count }, (_, i) => `${i * 8}-${i * 8}`).join(',')}`;
    expect((await cache.get(path, { headers: { range: ranges(256) } })).status).toBe(206);
    const refused = await cache.get(path, { headers: { range: ranges(257) } });
    expect([refused.status, refused.errorCode]).toEqual([400, 'RANGE_INVALID']);
  });

  test('transfers over maxIngests are 503 with Retry-After, and joined ones are none', async () => {
    const { upstream, cache } = await startPair({ cache: { maxIngests: 1 } });
    const image = upstream.addImage('team/app', { tag: '1' });
    const held = gate();
    upstream.on(blobs, { gate: held });
    const [one, two] = image.layers.map(({ digest }) => `/v2/up/team/app/blobs/${digest}`) as [string, string];
    const first = [cache.get(one), cache.get(one)];
    await held.reached;
    const refused = await cache.get(two);
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1']);
    held.open();
    expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200]);
    await expect.poll(async () => (await cache.get(two)).status).toBe(200);
  });
});

describe('close', () => {
  test('lets a manifest that is on its way from the upstream arrive within the grace', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    const held = gate();
    upstream.on({}, { gate: held });
    const waiting = cache.get('/v2/up/team/app/manifests/1');
    await held.reached;
    const closed = cache.cache.close({ graceMs: 1_000 });
    held.open();
    expect((await waiting).status).toBe(200);
    await closed;
  });

  test('answers what comes later with 503, everywhere below /v2', async () => {
    const { upstream, cache } = await startPair();
    upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    await cache.cache.close();
    upstream.clear();
    for (const path of ['/v2/', byTag, '/v2/up/team/app/tags/list', '/v2/what/ever']) {
      const got = await cache.get(path);
      expect([got.status, got.errorCode, got.headers['retry-after']]).toEqual([503, 'UNAVAILABLE', '5']);
    }
    expect((await cache.get('/other')).status).toBe(404);
    expect((await cache.cache.fetch(new Request('http://cache.example/v2/'))).status).toBe(503);
    expect(upstream.requests).toEqual([]);
  });

  test('ends what waits for an upstream that hangs, and ends itself', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    upstream.on({}, { hang: true });
    const waiting = [byTag, '/v2/up/team/app/tags/list', `/v2/up/team/app/blobs/${image.config.digest}`].map((path) =>
      cache.get(path),
    );
    await expect.poll(() => upstream.requests.length).toBe(3);
    const closed = cache.cache.close({ graceMs: 1_000 });
    await cache.clock.advance(1_000);
    await closed;
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([503, 503, 503]);
    await expect.poll(() => upstream.requests.every(({ aborted }) => aborted)).toBe(true);
  });

  test('lets transfers end within its grace, and cuts off those that do not', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * 1024 * 1024, 4 * 1024 * 1024] });
    const [quick, slow] = [image.layers[0]!, image.layers[1]!];
    const chunks = [chunkGate(64 * 1024), chunkGate(64 * 1024)];
    upstream.on({ path: new RegExp(quick.digest) }, { throttle: chunks[0]! });
    upstream.on({ path: new RegExp(slow.digest) }, { throttle: chunks[1]! });
    const waiting = [quick, slow].map(({ digest }) => cache.get(`/v2/up/team/app/blobs/${digest}`));
    for (const chunk of chunks) chunk.allow(24);
    await expect.poll(() => upstream.requests.filter(({ sentBytes }) => sentBytes > 1024 * 1024).length).toBe(2);
    const closed = cache.cache.close({ graceMs: 1_000 });
    chunks[0]!.open();
    const whole = await waiting[0]!;
    expect(digestOfBody(whole.body)).toBe(quick.digest);
    await cache.clock.advance(1_000);
    await closed;
    const cut = await waiting[1]!;
    expect(cut.failure).toBeDefined();
  });

  test.each([
    ['finish', 'stored'],
    ['drop', 'failed'],
  ] as const)('lets a transfer that nobody reads any more %s: it ends as %s', async (ingests, outcome) => {
    const { upstream, cache } = await startPair();
    const size = 3 * 1024 * 1024;
    const digest = upstream.putBlob('team/app', seededBytes('left alone', size));
    const chunks = chunkGate(64 * 1024);
    upstream.on({ path: /blobs/ }, { throttle: chunks });
    const left = new AbortController();
    let isBegun = false;
    const begun = () => {
      isBegun = true;
    };
    const reading = cache.get(`/v2/up/team/app/blobs/${digest}`, { signal: left.signal, begun }).catch(() => undefined);
    chunks.allow(24);
    // What was sent may still be on its way; a transfer that brought nothing yet ends with its client.
    await expect.poll(() => isBegun).toBe(true);
    left.abort();
    await reading;
    const closed = cache.cache.close({ graceMs: 1_000, ingests });
    if (ingests === 'finish') chunks.open();
    await closed;
    expect(cache.seen('ingest-ended').map((event) => event.outcome)).toEqual([outcome]);
  });

  test('lets a transfer that is read go on within its grace, also where those that nobody reads are dropped', async () => {
    const { upstream, cache } = await startPair();
    const digest = upstream.putBlob('team/app', seededBytes('read', 3 * 1024 * 1024));
    const chunks = chunkGate(64 * 1024);
    upstream.on({ path: /blobs/ }, { throttle: chunks });
    let isBegun = false;
    const begun = () => {
      isBegun = true;
    };
    const reading = cache.get(`/v2/up/team/app/blobs/${digest}`, { begun });
    chunks.allow(24);
    await expect.poll(() => isBegun).toBe(true);
    const closed = cache.cache.close({ graceMs: 1_000, ingests: 'drop' });
    chunks.open();
    expect(digestOfBody((await reading).body)).toBe(digest);
    await closed;
  });

  test('refuses no running request the transfer that it has yet to start', async () => {
    const { upstream, cache } = await startPair();
    const bytes = seededBytes('cold', 3 * 1024 * 1024);
    const digest = upstream.putBlob('team/app', bytes);
    const proof = gate();
    upstream.on({ method: 'HEAD' }, { gate: proof });
    const reading = cache.get(`/v2/up/team/app/blobs/${digest}`, { headers: { range: 'bytes=5-' } });
    await proof.reached;
    const closed = cache.cache.close({ graceMs: 5_000 });
    proof.open();
    const { status, body } = await reading;
    expect([status, Buffer.compare(body, bytes.subarray(5))]).toEqual([206, 0]);
    await closed;
    expect(cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
  });

  async function startSlow() {
    let storage: FlakyStorage | undefined;
    const pair = await startPair({
      mount: {
        wrapStorage(wrapped) {
          storage = flakyStore(wrapped);
          return storage;
        },
      },
    });
    const bytes = Buffer.from(seededBytes('large', 32 * 1024 * 1024));
    const path = `/v2/up/team/app/blobs/${pair.upstream.putBlob('team/app', bytes)}`;
    await pair.cache.get(path);
    await expect.poll(() => pair.cache.seen('ingest-ended').length).toBe(1);
    const client = await slowClient(`${pair.cache.url}${path}`);
    return { ...pair, storage: storage!, bytes, client };
  }

  test('lets a stored blob that can be read no further be fetched within the grace', async () => {
    const { cache, storage, bytes, client } = await startSlow();
    const closed = cache.cache.close({ graceMs: 5_000 });
    storage.on('blobs.read', { fail: 'EIO' });
    expect((await client.rest()).equals(bytes)).toBe(true);
    await closed;
    expect(cache.seen('ingest-started')).toHaveLength(2);
  });

  test('cuts off stored answers after the grace, and nothing reads the store any more', async () => {
    const { cache, storage, client } = await startSlow();
    expect(storage.openBlobs()).toBe(1);
    const closed = cache.cache.close({ graceMs: 1_000 });
    await cache.clock.advance(1_000);
    await closed;
    expect(storage.openBlobs()).toBe(0);
    const reads = storage.calls('blobs.read');
    await expect(client.rest()).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(storage.calls('blobs.read')).toBe(reads);
  });

  test('refuses what is no way to end, and goes on', async () => {
    const { cache } = await startPair();
    expect(() => cache.cache.close({ ingests: 'keep' as never })).toThrow(
      'close: ingests: expected "finish" or "drop"',
    );
    expect(() => cache.cache.close({ graceMs: -1 })).toThrow('close: graceMs');
    expect((await cache.get('/v2/')).status).toBe(200);
  });

  test('may be called again, also at once, and is the same end', async () => {
    const { cache } = await startPair();
    expect(await Promise.all([cache.cache.close(), cache.cache.close()])).toEqual([undefined, undefined]);
  });

  test('keeps what was learnt: a restart has it', async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    await pullImage(cache, at);
    await cache.restart();
    await upstream.stop();
    expect((await pullImage(cache, at)).digest).toBe(image.root.digest);
  });
});
