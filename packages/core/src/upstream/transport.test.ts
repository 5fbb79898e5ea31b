import { createServer, type Socket } from 'node:net';
import {
  type FakeHost,
  type FakeHostOptions,
  gate,
  type ManualClock,
  manualClock,
  seededBytes,
  startFakeHost,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { collect, discard } from '../runtime/bytes.ts';
import type { Lookup } from './connector.ts';
import { createTransport, type Transport, type TransportRequest } from './transport.ts';
import type { UpstreamOptions } from './upstream-options.ts';

let clock: ManualClock;
let cleanups: (() => Promise<void>)[];

beforeEach(() => {
  clock = manualClock();
  cleanups = [];
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const megabytes = seededBytes('transport', 8 * 1024 * 1024);

async function start(options: FakeHostOptions = {}): Promise<FakeHost> {
  const host = await startFakeHost(options, () => ({ status: 200, headers: {}, body: megabytes }));
  cleanups.push(host.stop);
  return host;
}

function transportTo(url: string, { lookup, ...more }: Partial<UpstreamOptions> & { lookup?: Lookup } = {}): Transport {
  const settings = upstreamSettings({ key: 'hub', url, ...more });
  const transport = createTransport(settings, {
    clock,
    userAgent: 'test',
    observe: () => undefined,
    ...(lookup && { lookup }),
  });
  cleanups.push(() => transport.close());
  return transport;
}

const get = (url: string, more: Partial<TransportRequest> = {}): TransportRequest => ({
  url: new URL(url),
  method: 'GET',
  headers: {},
  deadlineAt: Number.POSITIVE_INFINITY,
  signal: new AbortController().signal,
  ...more,
});

const whole = async (response: { body: AsyncIterable<Uint8Array> }) => (await collect(response.body, 1e9))!.byteLength;

/** A server on TCP, for what no HTTP server does. */
async function startTcp(
  serve: (socket: Socket, nth: number) => void,
): Promise<{ url: string; connections: () => number }> {
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    serve(socket, ++connections);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it does not listen');
  return { url: `http://127.0.0.1:${address.port}`, connections: () => connections };
}

describe('connections', () => {
  it('are at most as many as allowed to one host, and the next request takes the one that is free', async () => {
    const host = await start();
    const held = gate();
    host.on({}, { gate: held });
    const transport = transportTo(host.url, { limits: { maxConnections: 2 } });
    const all = [1, 2, 3, 4, 5].map(async () => await whole(await transport.send(get(host.url))));
    await held.reachedBy(2);
    await clock.advance(1);
    expect(host.count()).toBe(2);
    held.open();
    expect(await Promise.all(all)).toEqual(all.map(() => megabytes.byteLength));
    expect(host.count()).toBe(5);
  });

  it('are waited for as long as queueFor, or until the deadline', async () => {
    const host = await start();
    host.on({}, { hang: true });
    const transport = transportTo(host.url, { limits: { maxConnections: 1 }, timeouts: { headers: '10m' } });
    const first = transport.send(get(host.url)).catch(() => undefined);
    await expect.poll(() => host.count()).toBe(1);
    const refused = Promise.all([
      expect(transport.send(get(host.url))).rejects.toMatchObject({ code: 'busy' }),
      expect(transport.send(get(host.url, { deadlineAt: clock.monotonic() + 1_000 }))).rejects.toMatchObject({
        code: 'busy',
      }),
    ]);
    await clock.advance(60_000);
    await refused;
    await transport.close();
    await first;
  });

  it('are waited for by a blob as long as queueFor, and its own time counts from then', async () => {
    const host = await start();
    const limits = { maxConnections: 1, queueFor: '5m' } as const;
    const transport = transportTo(host.url, { limits, timeouts: { headers: '10m' } });
    const first = await transport.send(get(host.url, { long: true }));
    let waitedMs = 0;
    const queued = (ms: number) => {
      waitedMs += ms;
    };
    const blob = () => transport.send(get(host.url, { long: true, deadlineAt: clock.monotonic() + 60_000, queued }));
    const second = blob();
    await clock.advance(240_000);
    host.on({ times: 1 }, { hang: true });
    await discard(first.body);
    await expect.poll(() => host.count()).toBe(2);
    await clock.advance(59_000);
    const late = expect(second).rejects.toMatchObject({ code: 'timeout' });
    await clock.advance(1_000);
    await late;
    expect(waitedMs).toBe(240_000);
    const held = await transport.send(get(host.url, { long: true }));
    const refused = expect(blob()).rejects.toMatchObject({ code: 'busy' });
    await clock.advance(300_000);
    await refused;
    await discard(held.body);
  });

  it.each([
    [2, 1],
    [4, 3],
    [32, 24],
  ])('of which there are %i hold %i bodies that nobody reads, and the rest answer what is short', async (all, most) => {
    const host = await start();
    const transport = transportTo(host.url, { limits: { maxConnections: all, queueFor: '1s' } });
    const bodies = await Promise.all(Array.from({ length: most }, () => transport.send(get(host.url, { long: true }))));
    const refused = expect(transport.send(get(host.url, { long: true }))).rejects.toMatchObject({
      code: 'busy',
      message: `hub has no free connection: all ${most} for blobs are in use`,
    });
    expect(await whole(await transport.send(get(host.url)))).toBe(megabytes.byteLength);
    await clock.advance(1_000);
    await refused;
    const next = transport.send(get(host.url, { long: true }));
    expect(await whole(await transport.send(get(host.url)))).toBe(megabytes.byteLength);
    expect(await whole(bodies[0]!)).toBe(megabytes.byteLength);
    expect(await whole(await next)).toBe(megabytes.byteLength);
  });

  it('are shared by all where there is one', async () => {
    const host = await start();
    const transport = transportTo(host.url, { limits: { maxConnections: 1 } });
    const body = await transport.send(get(host.url, { long: true }));
    const next = transport.send(get(host.url));
    await clock.advance(1);
    expect(host.count()).toBe(1);
    expect(await whole(body)).toBe(megabytes.byteLength);
    expect(await whole(await next)).toBe(megabytes.byteLength);
  });

  it('go to whoever has waited longest of those that may have one, also when one is lost', async () => {
    const host = await start();
    const transport = transportTo(host.url, { limits: { maxConnections: 2 } });
    const left = new AbortController();
    const order: string[] = [];
    const ask = async (name: string, long: boolean, signal = new AbortController().signal) => {
      const response = await transport.send(get(host.url, { long, signal }));
      order.push(name);
      return response;
    };
    const [body, short] = [await ask('body', true, left.signal), await ask('short', false)];
    const waiting = [ask('second body', true), ask('second short', false), ask('third body', true)];
    await clock.advance(1);
    await whole(short);
    await whole(await waiting[1]!);
    expect(order).toEqual(['body', 'short', 'second short']);
    left.abort(new Error('left'));
    await expect(whole(body)).rejects.toThrow('left');
    await whole(await waiting[0]!);
    await whole(await waiting[2]!);
    expect(order.slice(3)).toEqual(['second body', 'third body']);
  });

  it.each([false, true])('are kept and used again (for content: %s)', async (long) => {
    const server = await startTcp((socket) => {
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
    });
    const transport = transportTo(server.url);
    for (let round = 0; round < 3; round++)
      expect(await whole(await transport.send(get(server.url, { long })))).toBe(2);
    expect(server.connections()).toBe(1);
  });

  it.each([false, true])(
    'that the server closed just as they were used again are replaced, unseen (for content: %s)',
    async (long) => {
      const server = await startTcp((socket) => {
        let requests = 0;
        socket.on('data', () => {
          if (++requests > 1) socket.destroy();
          else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        });
      });
      const transport = transportTo(server.url);
      for (let round = 0; round < 2; round++)
        expect(await whole(await transport.send(get(server.url, { long })))).toBe(2);
      expect(server.connections()).toBe(2);
    },
  );

  it.each([false, true])('that a failover left dead all at once failed no request (for content: %s)', async (long) => {
    const warm = gate();
    let current = 0;
    const server = await startTcp((socket) => {
      const age = current;
      socket.on('data', async () => {
        await warm.pass();
        if (age === current) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        else socket.resetAndDestroy();
      });
    });
    const transport = transportTo(server.url);
    const ask = async () => await whole(await transport.send(get(server.url, { long })));
    const kept = [1, 2, 3, 4].map(ask);
    await warm.reachedBy(4);
    warm.open();
    await Promise.all(kept);
    current++;
    expect(await ask()).toBe(2);
    expect(await Promise.all([1, 2, 3, 4].map(ask))).toEqual([2, 2, 2, 2]);
    expect(transport.hosts()).toMatchObject([{ state: 'closed', failures: 0 }]);
  });

  it('that another request gave back were not taken for new ones', async () => {
    const server = await startTcp((socket) => {
      let requests = 0;
      socket.on('data', () => {
        if (++requests > 1) socket.resetAndDestroy();
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      });
    });
    const transport = transportTo(server.url, { limits: { maxConnections: 1 } });
    const ask = async () => await whole(await transport.send(get(server.url)));
    await ask();
    // The first of these is sent again when the other, which waited for a connection, has been answered.
    expect(await Promise.all([ask(), ask()])).toEqual([2, 2]);
    expect(server.connections()).toBe(3);
  });

  it.each([false, true])(
    'that are new and closed without an answer are a failure, not asked twice (for content: %s)',
    async (long) => {
      const server = await startTcp((socket) => socket.on('data', () => socket.destroy()));
      const transport = transportTo(server.url);
      await expect(transport.send(get(server.url, { long }))).rejects.toMatchObject({ code: 'unreachable' });
      expect(server.connections()).toBe(1);
    },
  );

  it('are as many for content and all else together', async () => {
    const host = await start();
    const transport = transportTo(host.url, { limits: { maxConnections: 2 } });
    const both = () => [false, true].map(async (long) => await whole(await transport.send(get(host.url, { long }))));
    const size = megabytes.byteLength;
    for (let round = 0; round < 3; round++) {
      expect(await Promise.all([...both(), ...both()])).toEqual([size, size, size, size]);
      await expect.poll(() => host.connections().open).toBeLessThanOrEqual(2);
    }
  });

  it('for content make room for others where there is but one, and the other way round', async () => {
    const host = await start();
    const transport = transportTo(host.url, { limits: { maxConnections: 1 } });
    for (const long of [true, false, true, false]) {
      expect(await whole(await transport.send(get(host.url, { long })))).toBe(megabytes.byteLength);
      await expect.poll(() => host.connections().open).toBe(1);
    }
    expect(host.connections().accepted).toBe(4);
  });

  it('end with the transport, and no request is taken after', async () => {
    const host = await start();
    host.on({}, { hang: true });
    const transport = transportTo(host.url, { limits: { maxConnections: 1 } });
    const running = expect(transport.send(get(host.url))).rejects.toMatchObject({ code: 'closed' });
    await expect.poll(() => host.count()).toBe(1);
    const waiting = expect(transport.send(get(host.url))).rejects.toMatchObject({ code: 'closed' });
    await transport.close();
    await Promise.all([running, waiting]);
    await expect(transport.send(get(host.url))).rejects.toMatchObject({ code: 'closed' });
    await expect.poll(() => host.requests[0]!.aborted).toBe(true);
  });
});

describe.each([
  ['undici', false],
  ['a lane', true],
])('over %s', (_wire, long) => {
  it.each(['reset', 'closed'])(
    'an answer without a length that was %s while nobody read it ended the process',
    async (how) => {
      const bytes = Buffer.alloc(256 * 1024, 7);
      const sent = gate();
      const server = await startTcp((socket) => {
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n');
          if (how === 'closed') socket.end(bytes, () => sent.open());
          else socket.write(bytes, () => sent.open());
          socket.once('error', () => undefined);
          ended = () => socket.resetAndDestroy();
        });
      });
      let ended = (): void => undefined;
      const transport = transportTo(server.url);
      const { body } = await transport.send(get(server.url, { long }));
      await sent.pass();
      // All of it has come, and nobody reads it.
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
      if (how === 'reset') ended();
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
      expect(await whole({ body })).toBe(bytes.byteLength);
    },
  );
});
