import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type Coordinator,
  createProxyCache,
  digestOf,
  type Lease,
  localCoordinator,
  memoryStorage,
  type ProxyCache,
  type ProxyCacheEvent,
  type Storage,
} from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { chunkGate, type FakeUpstream, gate as httpGate, seededBytes, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { request } from '../semantics/request.ts';

const MiB = 1024 * 1024;
const bytes = seededBytes('peers', 8 * MiB);
const digest = digestOf(bytes);
const gets = { method: 'GET', path: /\/blobs\// };
const waiting = { timeout: 20_000, interval: 10 };
const secret = 'a text that all caches of this storage know';
const path = `/v2/_proxycache/ingests/up/${digest}`;
const right = { status: 200, isRight: true };

interface Replica {
  url: string;
  cache: ProxyCache;
  server: Server;
  events: ProxyCacheEvent[];
  spoolDirectory: string;
  roles(): [string, number][];
  open(): Promise<Response>;
  pull(): Promise<typeof right>;
}

let upstream: FakeUpstream;
let shared: Pick<Storage, 'blobs' | 'metadata'>;
let coordinator: Coordinator;
let replicas: Replica[];

beforeEach(async () => {
  upstream = await startFakeUpstream();
  upstream.putBlob('team/app', bytes);
  const { blobs, metadata } = memoryStorage();
  shared = { blobs, metadata };
  coordinator = localCoordinator();
  replicas = [];
});
afterEach(async () => {
  for (const { server } of replicas) server.closeAllConnections();
  await Promise.all(replicas.map(({ cache }) => cache.close({ graceMs: 0 })));
  await Promise.all(replicas.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  await upstream.stop();
});

/** A cache as a host of its own has it: another spool folder, and its HTTP server. */
async function start(
  options: {
    secret?: string;
    basePath?: string;
    clockAheadMs?: number;
    url?: string;
    /** How many times as fast its timers run. */
    haste?: number;
    /** That of another process of its host. */
    spoolDirectory?: string;
  } = {},
) {
  const { basePath = '', clockAheadMs = 0, haste = 1 } = options;
  const own = memoryStorage();
  const { spoolDirectory = own.spoolDirectory } = options;
  const events: ProxyCacheEvent[] = [];
  const server = createServer((req, res) => createNodeHandler(cache, { basePath })(req, res));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${basePath}`;
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url: upstream.url, limits: { maxConnections: 100 } }],
    storage: { ...shared, spoolDirectory, coordinator },
    peers: { url: options.url ?? url, secret: options.secret ?? secret },
    minFree: 0,
    observer: (event) => events.push(event),
    clock: {
      now: () => Date.now() + clockAheadMs,
      monotonic: () => performance.now() * haste,
      after(ms, fn) {
        const timer = setTimeout(fn, Math.min(ms / haste + 2, 2 ** 31 - 1));
        timer.unref();
        return () => clearTimeout(timer);
      },
    },
  });
  const replica: Replica = {
    url,
    cache,
    server,
    events,
    spoolDirectory,
    roles: () => events.flatMap((event) => (event.type === 'ingest-shared' ? [[event.role, event.from]] : [])),
    open: () => cache.fetch(new Request(`http://cache/v2/up/team/app/blobs/${digest}`)),
    async pull() {
      const response = await replica.open();
      const got = Buffer.from(await response.arrayBuffer());
      return { status: response.status, isRight: got.equals(bytes) };
    },
  };
  replicas.push(replica);
  return replica;
}

/** Has the first one lead, and its upstream send a MiB at a time as the gate lets it. */
async function leading(leader: Replica) {
  const gate = chunkGate(MiB);
  upstream.script(gets, [{ throttle: gate }]);
  const pulled = leader.pull();
  await expect.poll(leader.roles, waiting).toEqual([['leader', 0]]);
  return { gate, pulled };
}

describe('caches on several hosts', () => {
  test.each(['', '/images'])(
    'bring a cold blob in by one request to its upstream (mounted at "%s")',
    async (basePath) => {
      const [one, two, three] = [await start({ basePath }), await start(), await start({ basePath })];
      const { gate, pulled } = await leading(one);
      const others = [two.pull(), three.pull()];
      gate.allow(4);
      await expect.poll(two.roles, waiting).toEqual([['follower', 0]]);
      await expect.poll(three.roles, waiting).toEqual([['follower', 0]]);
      gate.open();
      expect(await Promise.all([pulled, ...others])).toEqual([right, right, right]);
      expect(upstream.count(gets)).toBe(1);
      expect([...two.events, ...three.events].filter(({ type }) => type === 'peer-failed')).toEqual([]);
    },
  );

  test('go on when the server of the one that leads is gone half-way, byte for byte', async () => {
    const [one, two] = [await start(), await start()];
    const { gate, pulled } = await leading(one);
    const opening = two.open();
    gate.allow(4);
    const body = (await opening).body!.getReader();
    const got: Uint8Array[] = [];
    const { value } = await body.read();
    got.push(Uint8Array.from(value!));
    expect(two.roles()).toEqual([['follower', 0]]);
    one.server.closeAllConnections();
    one.server.close();
    gate.open();
    for (let next = await body.read(); !next.done; next = await body.read()) got.push(Uint8Array.from(next.value));
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
    expect(await pulled).toEqual(right);
    // From where it was: nothing is brought in twice.
    await expect.poll(() => two.roles().at(-1)?.[0], waiting).toMatch(/stored|alone/);
    expect(two.roles().at(-1)?.[1]).toBeGreaterThan(0);
  });

  test('do without one another when they do not have the same secret', async () => {
    const [one, two] = [await start(), await start({ secret: 'another text, also of more than 32 bytes' })];
    const { gate, pulled } = await leading(one);
    expect(await two.pull()).toEqual(right);
    expect(two.roles()).toEqual([['alone', 0]]);
    expect(two.events).toContainEqual(expect.objectContaining({ type: 'peer-failed', peer: one.url, status: 401 }));
    gate.open();
    expect(await pulled).toEqual(right);
  });

  test('do without one another when their clocks differ by more than a minute', async () => {
    const [one, two] = [await start(), await start({ clockAheadMs: 61_000 })];
    const { gate, pulled } = await leading(one);
    expect(await two.pull()).toEqual(right);
    expect(two.roles()).toEqual([['alone', 0]]);
    gate.open();
    expect(await pulled).toEqual(right);
  });

  test('are answered by any process of a host for the one of them that leads', async () => {
    const port = await start();
    const leader = await start({ url: port.url, spoolDirectory: port.spoolDirectory });
    const other = await start();
    const { gate, pulled } = await leading(leader);
    const opening = other.open();
    gate.allow(4);
    const response = await opening;
    await expect.poll(other.roles, waiting).toEqual([['follower', 0]]);
    gate.open();
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    expect(await pulled).toEqual(right);
    expect(upstream.count(gets)).toBe(1);
    expect(port.roles()).toEqual([]);
  });

  test('go on alone where the one that leads brings nothing for long', async () => {
    const [one, two] = [await start(), await start({ haste: 20 })];
    const { gate, pulled } = await leading(one);
    const opening = two.open();
    gate.allow(4);
    const response = await opening;
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    expect(two.roles()[0]).toEqual(['follower', 0]);
    expect(two.roles().at(-1)?.[0]).toBe('alone');
    expect(two.roles().at(-1)?.[1]).toBeGreaterThan(0);
    gate.open();
    expect(await pulled).toEqual(right);
  });

  test('try one that cannot be reached no longer than a lease lasts, and leave it alone then', async () => {
    const [one, two] = [await start({ url: 'http://127.0.0.1:1' }), await start({ haste: 10 })];
    const { gate, pulled } = await leading(one);
    expect(await two.pull()).toEqual(right);
    expect(two.roles()).toEqual([['alone', 0]]);
    expect(two.events.filter(({ type }) => type === 'peer-failed')).toHaveLength(1);
    gate.open();
    expect(await pulled).toEqual(right);
  });
});

describe('many blobs at once', () => {
  const blobs = Array.from({ length: 40 }, (_, i) => seededBytes(`many ${i}`, MiB + 200_000));

  async function pullOf(replica: Replica, of: Uint8Array) {
    const answer = await replica.cache.fetch(new Request(`http://cache/v2/up/team/app/blobs/${digestOf(of)}`));
    return { status: answer.status, isRight: Buffer.from(await answer.arrayBuffer()).equals(of) };
  }

  test('are all followed, though the one that leads brings none of them to its end', async () => {
    const [one, two] = [await start(), await start()];
    const gates = blobs.map((blob) => {
      const gate = chunkGate(MiB);
      upstream.putBlob('team/app', blob);
      upstream.on({ method: 'GET', path: new RegExp(digestOf(blob)) }, { throttle: gate });
      gate.allow(1);
      return gate;
    });
    const first = blobs.map((blob) => pullOf(one, blob));
    await expect.poll(() => one.roles().length, waiting).toBe(blobs.length);
    const second = blobs.map((blob) => pullOf(two, blob));
    await expect.poll(() => two.roles().length, waiting).toBe(blobs.length);
    expect(new Set(two.roles().map(([role]) => role))).toEqual(new Set(['follower']));
    for (const gate of gates) gate.open();
    expect(new Set((await Promise.all([...first, ...second])).map(({ isRight }) => isRight))).toEqual(new Set([true]));
    expect(upstream.count(gets)).toBe(blobs.length);
  });

  test('of one that just died are taken over once its leases have ended, not asked for before, however many', async () => {
    const some = blobs.slice(0, 5);
    const value = JSON.stringify({ v: 1, owner: 'dead', place: 'another', peerUrl: 'http://127.0.0.1:1' });
    const leases: Lease[] = [];
    for (const blob of some) {
      upstream.putBlob('team/app', blob);
      const signal = AbortSignal.timeout(20_000);
      leases.push((await coordinator.acquire(`ingest/up/${digestOf(blob)}`, { for: 60_000, value, signal }))!);
    }
    let looks = 0;
    const { acquire } = coordinator;
    coordinator.acquire = (key, how) => {
      if (key.startsWith('ingest/')) looks++;
      return acquire(key, how);
    };
    const two = await start({ haste: 0.5 });
    const pulls = some.map((blob) => pullOf(two, blob));
    await expect.poll(() => looks, waiting).toBe(2 * some.length);
    expect(two.roles()).toEqual([]);
    await Promise.all(leases.map((lease) => lease.release()));
    expect(await Promise.all(pulls)).toEqual(some.map(() => right));
    expect(two.roles()).toEqual(some.map(() => ['leader', 0]));
  });
});

describe('a peer that lies', () => {
  /** In the place of a leader: whatever it is asked for, it sends other bytes of the same length. */
  async function liar(send: Buffer): Promise<Server> {
    const server = createServer((req, res) => {
      const from = Number(/^bytes=(\d+)-$/.exec(req.headers.range ?? '')?.[1]);
      res.writeHead(206, {
        'content-length': send.byteLength - from,
        'content-range': `bytes ${from}-${send.byteLength - 1}/${send.byteLength}`,
      });
      res.end(send.subarray(from));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const value = JSON.stringify({ v: 1, owner: 'liar', place: await placeOf(), peerUrl: url });
    const taken = await coordinator.acquire(`ingest/up/${digest}`, {
      for: 60_000,
      value,
      signal: AbortSignal.timeout(20_000),
    });
    expect(taken).toBeDefined();
    return server;
  }

  /** What leaders tell of whose request they bring it in for. */
  async function placeOf(): Promise<string> {
    const told: string[] = [];
    const one = await start();
    const { gate, pulled } = await leading(one);
    const text = await coordinator.holder(`ingest/up/${digest}`);
    told.push(JSON.parse(text!).place);
    gate.open();
    await pulled;
    await expect.poll(() => coordinator.holder(`ingest/up/${digest}`), waiting).toBeUndefined();
    await shared.blobs.delete(digest, { signal: AbortSignal.timeout(20_000) });
    upstream.clear();
    return told[0]!;
  }

  test.each([
    ['in the end', bytes.byteLength - 10],
    ['in the beginning', 10],
  ])(
    '%s makes no wrong byte complete: its bytes are held back or broken off, and the upstream is asked',
    async (_where, at) => {
      const wrong = Buffer.from(bytes);
      wrong[at] = wrong[at]! ^ 0xff;
      const server = await liar(wrong);
      const two = await start();
      const response = await two.open();
      const got = await response.arrayBuffer().then(Buffer.from, () => undefined);
      // A wrong byte that left already breaks the answer; one that was held back costs a second transfer.
      if (at > MiB) expect(got?.equals(bytes)).toBe(true);
      else expect(got === undefined || got.equals(bytes)).toBe(true);
      expect(two.roles()[0]).toEqual(['follower', 0]);
      await expect.poll(() => upstream.count(gets), waiting).toBe(1);
      expect(await two.pull()).toEqual(right);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  );
});

describe('what peers are asked for', () => {
  const ask = (replica: Replica, headers: Record<string, string> = {}, at = path) =>
    request(`${replica.url}${at}`, { headers });

  test('is answered with 401 without a signature, and to whoever has none nothing else is said', async () => {
    const one = await start();
    for (const headers of [
      {},
      { authorization: 'Bearer x' },
      { authorization: `Proxycache-HMAC-SHA256 1 ${'0'.repeat(64)}` },
    ]) {
      const refused = await ask(one, headers as Record<string, string>);
      expect([refused.status, refused.errorCode]).toEqual([401, 'UNAUTHORIZED']);
      expect(refused.headers['www-authenticate']).toBe('Proxycache-HMAC-SHA256');
    }
    expect(upstream.requests).toEqual([]);
  });

  const signed = (range: string, { at = path, date = Date.now(), peer = replicas[0]?.url } = {}) => {
    const mac = createHmac('sha256', secret).update(`1\n${peer}\nGET\n${at}\n${range}\n${date}`).digest('hex');
    return { range, authorization: `Proxycache-HMAC-SHA256 ${date} ${mac}` };
  };

  test('is answered from any byte on as it comes in, and from the store when it is there', async () => {
    const one = await start();
    const { gate, pulled } = await leading(one);
    const from = 3 * MiB + 5;
    const asking = ask(one, signed(`bytes=${from}-`));
    gate.open();
    for (const answer of [await asking, (await pulled) && (await ask(one, signed(`bytes=${from}-`)))]) {
      expect(answer.status).toBe(206);
      expect(answer.headers['content-length']).toBe(String(bytes.byteLength - from));
      expect(answer.headers['content-range']).toBe(`bytes ${from}-${bytes.byteLength - 1}/${bytes.byteLength}`);
      expect(answer.headers['cache-control']).toContain('no-store');
      expect(answer.body.equals(bytes.subarray(from))).toBe(true);
    }
    expect(one.events.filter((event) => event.type === 'request' && event.kind === 'peer')).toHaveLength(2);
  });

  test('is not there where it neither comes in nor is stored, nor past its end, and asks no upstream', async () => {
    const one = await start();
    expect((await ask(one, signed('bytes=0-'))).status).toBe(404);
    expect(upstream.requests).toEqual([]);
    await one.pull();
    await expect.poll(async () => (await ask(one, signed('bytes=0-'))).status, waiting).toBe(206);
    expect((await ask(one, signed(`bytes=${bytes.byteLength}-`))).status).toBe(404);
    for (const range of ['', 'bytes=0-5', 'bytes=-5', 'bytes=0-,5-']) {
      expect((await ask(one, signed(range))).errorCode).toBe('UNSUPPORTED');
    }
    const nowhere = '/v2/_proxycache/ingests/up/sha256:x';
    expect((await ask(one, signed('bytes=0-', { at: nowhere }), nowhere)).errorCode).toBe('DIGEST_INVALID');
  });

  describe('was never closed where the store gives it as a stream:', () => {
    /** The blobs of the store as streams, and how many of them are open. */
    function streaming(afterEachChunk: () => unknown) {
      const { blobs } = shared;
      let open = 0;
      shared.blobs = {
        ...blobs,
        async open(asked, { range, signal }) {
          const blob = await blobs.open(asked, { signal });
          if (blob?.kind !== 'file') return blob;
          open++;
          async function* body() {
            for (let at = range?.from ?? 0; at < bytes.byteLength; ) {
              const chunk = new Uint8Array(Math.min(MiB, bytes.byteLength - at));
              at += await (blob as Extract<typeof blob, { kind: 'file' }>).read(chunk, at);
              yield chunk;
              await afterEachChunk();
            }
          }
          let isOpen = true;
          const close = async () => {
            if (isOpen) open--;
            isOpen = false;
          };
          return { kind: 'stream', size: blob.size, body: body(), close };
        },
      };
      return () => open;
    }

    const never = new AbortController().signal;

    test('one that was read to its end', async () => {
      const open = streaming(() => undefined);
      await shared.blobs.put({ digest, bytes, signal: never });
      const one = await start();
      const got = await ask(one, signed('bytes=5-'));
      expect([got.status, got.body.equals(bytes.subarray(5))]).toEqual([206, true]);
      await expect.poll(open, waiting).toBe(0);
    });

    test('one that failed half-way', async () => {
      const open = streaming(() => Promise.reject(new Error('bad sector')));
      await shared.blobs.put({ digest, bytes, signal: never });
      const got = await ask(await start(), signed('bytes=0-'));
      expect([got.status, got.failure]).toEqual([206, expect.any(Error)]);
      await expect.poll(open, waiting).toBe(0);
    });

    test('one whose peer left', async () => {
      const held = httpGate();
      const open = streaming(() => held.pass());
      await shared.blobs.put({ digest, bytes, signal: never });
      const one = await start();
      const left = new AbortController();
      const begun = () => left.abort();
      await request(`${one.url}${path}`, { headers: signed('bytes=0-'), signal: left.signal, begun });
      held.open();
      await expect.poll(open, waiting).toBe(0);
    });
  });

  test('was answered with 502 at the instant when it had been stored, and its lease was not given up yet', async () => {
    const held = new Map<string, string>();
    const { holder } = coordinator;
    coordinator = {
      ...coordinator,
      async holder(key) {
        const now = await holder(key);
        if (now !== undefined) held.set(key, now);
        return held.get(key);
      },
    };
    const one = await start();
    const { gate, pulled } = await leading(one);
    gate.allow(4);
    expect((await ask(one, signed('bytes=99999999-'))).status).toBe(404);
    gate.allow(100);
    expect(await pulled).toEqual(right);
    await expect.poll(async () => (await ask(one, signed('bytes=0-'))).status, waiting).toBe(206);
    expect((await ask(one, signed(`bytes=${bytes.byteLength}-`))).status).toBe(404);
  });

  test('is refused when it was signed more than a minute ago, or for other bytes', async () => {
    const one = await start();
    const late = await ask(one, signed('bytes=0-', { date: Date.now() - 61_000 }));
    expect([late.status, late.errorCode]).toEqual([401, 'UNAUTHORIZED']);
    expect(late.body.toString()).toContain('clocks');
    expect((await ask(one, { ...signed('bytes=0-'), range: 'bytes=5-' })).status).toBe(401);
  });

  test('is told as left by who asked, where nothing has come in yet, and not as a failure of the storage', async () => {
    const one = await start();
    const unanswered = httpGate();
    upstream.script(gets, [{ gate: unanswered }]);
    const pulled = one.pull();
    await unanswered.reached;
    const left = new AbortController();
    const asking = one.cache.fetch(
      new Request(`http://cache${path}`, { headers: signed('bytes=0-'), signal: left.signal }),
    );
    left.abort();
    await asking.catch(() => undefined);
    const errors = () => one.events.flatMap((event) => (event.type === 'request' ? [event.error] : []));
    await expect.poll(errors, waiting).toEqual(['aborted']);
    unanswered.open();
    expect(await pulled).toEqual(right);
  });

  test('is refused when it was signed for another peer, who may be somebody that a lease was made to name', async () => {
    const one = await start();
    expect(await one.pull()).toEqual(right);
    expect((await ask(one, signed('bytes=0-'))).status).toBe(206);
    expect((await ask(one, signed('bytes=0-', { peer: 'http://10.0.0.8:5000' }))).status).toBe(401);
  });

  test('is not there where peers is not set', async () => {
    const cache = createProxyCache({ upstreams: [{ key: 'up', url: upstream.url }], storage: memoryStorage() });
    const response = await cache.fetch(new Request(`http://cache${path}`));
    expect([response.status, ((await response.json()) as { errors: { code: string }[] }).errors[0]?.code]).toEqual([
      404,
      'UNSUPPORTED',
    ]);
    await cache.close();
  });

  test('takes no other method', async () => {
    const one = await start();
    const response = await one.cache.fetch(new Request(`http://cache${path}`, { method: 'POST' }));
    expect(response.status).toBe(403);
  });
});
