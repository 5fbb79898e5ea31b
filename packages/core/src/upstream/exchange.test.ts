import { MessageChannel } from 'node:worker_threads';
import {
  chunkGate,
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
import { createThrottle } from '../runtime/throttle.ts';
import type { Lookup } from './connector.ts';
import { networkDefaults } from './network-defaults.ts';
import { createLaneServer } from './serve-lane.ts';
import type { ThreadLanes } from './thread-lanes.ts';
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

/** As threads serve lanes, but in this one. */
const servedLanes: ThreadLanes = {
  prepare: () => undefined,
  open(origin) {
    const { port1, port2 } = new MessageChannel();
    createLaneServer()(port2, { origin, defaults: networkDefaults({ isSecure: true }) });
    return port1;
  },
};

let lanes: ThreadLanes | undefined;

function transportTo(url: string, { lookup, ...more }: Partial<UpstreamOptions> & { lookup?: Lookup } = {}): Transport {
  const settings = upstreamSettings({ key: 'hub', url, ...more });
  const { bytesPerSecond } = settings.limits;
  const transport = createTransport(settings, {
    clock,
    userAgent: 'test',
    observe: () => undefined,
    lanes,
    throttle: bytesPerSecond === undefined ? undefined : createThrottle({ bytesPerSecond, clock }),
    ...(lookup && { lookup }),
  });
  cleanups.push(() => transport.close());
  return transport;
}

const whole = async (response: { body: AsyncIterable<Uint8Array> }) => (await collect(response.body, 1e9))!.byteLength;

describe.each([
  ['undici', false, undefined],
  ['a lane', true, undefined],
  ['a lane of another thread', true, servedLanes],
])('over %s', (_wire, long, served) => {
  beforeEach(() => {
    lanes = served;
  });

  const get = (url: string, more: Partial<TransportRequest> = {}): TransportRequest => ({
    url: new URL(url),
    method: 'GET',
    headers: {},
    deadlineAt: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    long,
    ...more,
  });

  describe('time limits', () => {
    it('gives up connecting after timeouts.connect, and closes what was begun', async () => {
      const lookup: Lookup = () => undefined;
      const sent = transportTo('http://registry.example', { lookup }).send(get('http://registry.example/'));
      const refused = expect(sent).rejects.toMatchObject({
        code: 'timeout',
        message: expect.stringContaining('connection'),
      });
      await clock.untilPending(1);
      await clock.advance(5_000);
      await refused;
    });

    it('gives up waiting for the answer after timeouts.headers, and closes the connection', async () => {
      const host = await start();
      host.on({}, { hang: true });
      const refused = expect(transportTo(host.url).send(get(host.url))).rejects.toMatchObject({ code: 'timeout' });
      await expect.poll(() => host.count()).toBe(1);
      await clock.advance(30_000);
      await refused;
      await expect.poll(() => host.requests[0]!.aborted).toBe(true);
    });

    it('gives up at the deadline, should that come first', async () => {
      const host = await start();
      host.on({}, { hang: true });
      const refused = expect(
        transportTo(host.url).send(get(host.url, { deadlineAt: clock.monotonic() + 2_000 })),
      ).rejects.toMatchObject({ code: 'timeout' });
      await expect.poll(() => host.count()).toBe(1);
      await clock.advance(2_000);
      await refused;
    });

    it('gives up a body that brings nothing more for timeouts.idle', async () => {
      const host = await start();
      host.on({}, { stallAfter: 1_000 });
      const { body } = await transportTo(host.url).send(get(host.url));
      const iterator = body[Symbol.asyncIterator]();
      expect((await iterator.next()).value).toHaveLength(1_000);
      const refused = expect(iterator.next()).rejects.toMatchObject({ code: 'timeout' });
      await clock.advance(30_000);
      await refused;
      await expect.poll(() => host.requests[0]!.aborted).toBe(true);
    });

    it('counts the idle time anew with each chunk, and not while nobody reads; a body has no total limit', async () => {
      const host = await start();
      const chunks = chunkGate(1_000_000);
      host.on({}, { throttle: chunks });
      const { body } = await transportTo(host.url).send(get(host.url, { deadlineAt: clock.monotonic() + 1_000 }));
      const iterator = body[Symbol.asyncIterator]();
      let length = 0;
      for (let round = 0; round < 9; round++) {
        const next = iterator.next();
        await clock.advance(29_000);
        chunks.allow();
        length += (await next).value?.byteLength ?? 0;
        await clock.advance(3_600_000);
      }
      chunks.open();
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) length += next.value.byteLength;
      expect(length).toBe(megabytes.byteLength);
    });

    it('lets bodies bring what they may a second, and what is short bring all at once', async () => {
      const MiB = 1024 * 1024;
      // Lanes are for what brings much; what one reads comes in slabs.
      const [rate, slack] = long ? [16 * MiB, 2 * MiB] : [MiB, MiB / 8];
      const host = await startFakeHost({}, () => ({ status: 200, headers: {}, body: Buffer.alloc(40 * MiB, 1) }));
      cleanups.push(host.stop);
      const transport = transportTo(host.url, { limits: { bytesPerSecond: rate } });
      const { body } = await transport.send(get(host.url, { long: true }));
      let length = 0;
      const reading = (async () => {
        for await (const chunk of body) length += chunk.byteLength;
      })();
      const ended = reading.catch(() => undefined);
      for (let seconds = 0; seconds < 2; seconds++) {
        const expected = (0.4 + seconds) * rate;
        await expect.poll(() => length, { timeout: 20_000 }).toBeGreaterThanOrEqual(expected - slack);
        await new Promise((resolve) => setTimeout(resolve, 50));
        expect(length).toBeLessThanOrEqual(expected + slack);
        for (let ms = 0; ms < 1_000; ms += 20) {
          await clock.advance(20);
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      }
      const small = await start();
      expect(await whole(await transport.send(get(small.url, { long: false })))).toBe(megabytes.byteLength);
      await transport.close();
      await ended;
    });

    it('leaves no timer behind', async () => {
      const host = await start();
      const transport = transportTo(host.url);
      await whole(await transport.send(get(host.url)));
      // The one left closes the idle connection.
      expect(clock.pending()).toBe(1);
      await clock.advance(30_000);
      expect(clock.pending()).toBe(0);
    });
  });

  describe('a signal', () => {
    const reason = new Error('the client left');

    it('ends a request before it is sent', async () => {
      const host = await start();
      await expect(transportTo(host.url).send(get(host.url, { signal: AbortSignal.abort(reason) }))).rejects.toBe(
        reason,
      );
      expect(host.count()).toBe(0);
    });

    it('ends a request that waits for a connection, without a trace', async () => {
      const host = await start();
      const held = gate();
      host.on({ times: 1 }, { gate: held });
      const transport = transportTo(host.url, { limits: { maxConnections: 1 } });
      const first = transport.send(get(host.url));
      await held.reached;
      const abort = new AbortController();
      const waiting = expect(transport.send(get(host.url, { signal: abort.signal }))).rejects.toBe(reason);
      abort.abort(reason);
      await waiting;
      held.open();
      expect(await whole(await first)).toBe(megabytes.byteLength);
      expect(await whole(await transport.send(get(host.url)))).toBe(megabytes.byteLength);
      expect(host.count()).toBe(2);
    });

    it('ends a request that is still connecting', async () => {
      const abort = new AbortController();
      const lookup: Lookup = () => queueMicrotask(() => abort.abort(reason));
      const transport = transportTo('http://registry.example', { lookup });
      await expect(transport.send(get('http://registry.example/', { signal: abort.signal }))).rejects.toBe(reason);
    });

    it('ends a request that waits for its answer, and closes the connection', async () => {
      const host = await start();
      host.on({}, { hang: true });
      const abort = new AbortController();
      const refused = expect(transportTo(host.url).send(get(host.url, { signal: abort.signal }))).rejects.toBe(reason);
      await expect.poll(() => host.count()).toBe(1);
      abort.abort(reason);
      await refused;
      await expect.poll(() => host.requests[0]!.aborted).toBe(true);
    });

    it('ends a body that is being read, and closes the connection', async () => {
      const host = await start();
      host.on({}, { stallAfter: 10 });
      const abort = new AbortController();
      const { body } = await transportTo(host.url).send(get(host.url, { signal: abort.signal }));
      const iterator = body[Symbol.asyncIterator]();
      await iterator.next();
      const refused = expect(iterator.next()).rejects.toBe(reason);
      abort.abort(reason);
      await refused;
      await expect.poll(() => host.requests[0]!.aborted).toBe(true);
    });
  });

  describe('a body', () => {
    const MiB = 1024 * 1024;

    /** What was sent of an answer once the sockets' own buffers are full, and nothing moves any more. */
    async function sentInTheEnd(host: FakeHost, at: number): Promise<number> {
      let before = -1;
      await expect
        .poll(
          () => {
            const settled = host.requests[at]!.sentBytes === before;
            before = host.requests[at]!.sentBytes;
            return settled && before > 0;
          },
          { interval: 100 },
        )
        .toBe(true);
      return before;
    }

    it('holds the upstream back while nobody reads it', async () => {
      const host = await startFakeHost({}, () => ({ status: 200, headers: {}, body: Buffer.alloc(64 * MiB) }));
      cleanups.push(host.stop);
      const { body } = await transportTo(host.url).send(get(host.url));
      expect(await sentInTheEnd(host, 0)).toBeLessThan(32 * MiB);
      expect(await whole({ body })).toBe(64 * MiB);
    });

    it('holds the upstream back also when the one before it on its connection is read to its end', async () => {
      const bodies = [Buffer.alloc(MiB / 4), Buffer.alloc(64 * MiB)];
      // The first is held back by its very last byte.
      const host = await startFakeHost({}, () => ({ status: 200, headers: {}, body: bodies.shift()! }));
      cleanups.push(host.stop);
      const transport = transportTo(host.url, { limits: { maxConnections: 1 } });
      const first = await transport.send(get(host.url));
      const { body } = await transport.send(get(host.url));
      await sentInTheEnd(host, 1);
      expect(await whole(first)).toBe(MiB / 4);
      expect(await sentInTheEnd(host, 1)).toBeLessThan(32 * MiB);
      expect(await whole({ body })).toBe(64 * MiB);
    });

    it('that is given up frees its connection for others', async () => {
      const host = await start();
      const transport = transportTo(host.url, { limits: { maxConnections: 1 } });
      await discard((await transport.send(get(host.url))).body);
      expect(await whole(await transport.send(get(host.url)))).toBe(megabytes.byteLength);
    });
  });
});
