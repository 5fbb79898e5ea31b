import { lookup } from 'node:dns';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { MessageChannel } from 'node:worker_threads';
import { manualClock, seededBytes, selfSigned, sha256 } from '@proxycache/test-kit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createSlabs, type Slabs } from '../runtime/slabs.ts';
import { cloneError, errorOf } from './cloned-error.ts';
import { describeFailure, isClosedConnection } from './connection-failure.ts';
import { AddressRefused } from './connector.ts';
import { createDialer, type HostPlan } from './dialer.ts';
import { type ExchangeResponse, receive } from './exchange.ts';
import { createLane, type Lane } from './lane.ts';
import { networkDefaults } from './network-defaults.ts';
import { createRemoteLane } from './remote-lane.ts';
import { createLaneServer } from './serve-lane.ts';

const MiB = 1024 * 1024;
const large = Buffer.from(seededBytes('remote', 8 * MiB));
const own: HostPlan = { tls: { insecure: false }, isOwn: true };

async function serve(server: Server = createServer((_, res) => res.end(large))): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A lane whose other end is held by the test; `near` counts those that were made in its place. */
function laneTo(origin: string, isServed = true) {
  const { port1, port2 } = new MessageChannel();
  const told = { connected: [] as string[], near: 0, orders: 0 };
  port2.on('message', () => told.orders++);
  if (isServed) createLaneServer()(port2, { origin, defaults: networkDefaults({ isSecure: true }) });
  const lane = createRemoteLane({
    port: port1,
    connected: (address) => told.connected.push(address),
    instead() {
      told.near++;
      return createLane(origin, createDialer({ lookup, connected: () => undefined }));
    },
  });
  onTestFinished(() => lane.destroy());
  return { lane, told, end: () => port2.close() };
}

function ask(lane: Lane, origin: string, { host = own, slabs }: { host?: HostPlan; slabs?: Slabs } = {}) {
  return receive(
    {
      request: { origin, path: '/', method: 'GET', headers: { authorization: 'Bearer s3cr3t' } },
      host,
      limits: { connect: 5_000, headers: 30_000, idle: 30_000, within: Number.POSITIVE_INFINITY },
    },
    {
      connection: { dispatcher: lane, valve: undefined },
      clock: manualClock(),
      slabs,
      signal: new AbortController().signal,
      hooks: {
        late: (step) => new Error(step),
        broken: (cause) => new Error('broken', { cause }),
        done: () => undefined,
      },
    },
  );
}

async function digestOf({ body }: ExchangeResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return sha256(Buffer.concat(chunks));
}

describe('a lane in another thread', () => {
  it('tells where the upstream’s own origin was reached, and of no other', async () => {
    const origin = await serve();
    const { lane, told } = laneTo(origin);
    await digestOf(await ask(lane, origin));
    expect(told.connected).toEqual(['127.0.0.1']);
    const other = laneTo(origin);
    const rule = { home: 'loopback', allowPrivate: [] } as const;
    await digestOf(await ask(other.lane, origin, { host: { tls: own.tls, rule, isOwn: false } }));
    expect(other.told.connected).toEqual([]);
  });

  it('refuses addresses by the rule of each request', async () => {
    const origin = await serve();
    const { lane } = laneTo(origin);
    const rule = { home: 'public', allowPrivate: [] } as const;
    const refused = await ask(lane, origin, { host: { tls: own.tls, rule, isOwn: false } }).catch((error) => error);
    expect(refused).toBeInstanceOf(AddressRefused);
    expect(describeFailure(refused)).toMatchObject({
      code: 'address-refused',
      why: expect.stringContaining('list it'),
    });
  });

  it('takes a few orders for each MiB, so that it costs little', async () => {
    const origin = await serve();
    const { lane, told } = laneTo(origin);
    const slabs = createSlabs(64 * MiB, { shared: true });
    const { body } = await ask(lane, origin, { slabs });
    for await (const chunk of body) slabs.give(chunk);
    expect(told.orders).toBeLessThan(60);
  });

  it('does with little memory, and with such that threads do not share', async () => {
    const origin = await serve();
    for (const slabs of [createSlabs(0, { shared: true }), createSlabs(64 * MiB), undefined]) {
      const { lane } = laneTo(origin);
      expect(await digestOf(await ask(lane, origin, { ...(slabs && { slabs }) }))).toBe(sha256(large));
    }
  });

  it('gives back what it was lent, and closes its port, when it is destroyed in the middle of a body', async () => {
    const origin = await serve();
    const { port1, port2 } = new MessageChannel();
    createLaneServer()(port2, { origin, defaults: networkDefaults({ isSecure: true }) });
    const lane = createRemoteLane({ port: port1, connected: () => undefined, instead: () => lane });
    const closed = once(port1, 'close');
    const slabs = createSlabs(2 * MiB, { shared: true });
    const { body } = await ask(lane, origin, { slabs });
    const iterator = body[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.return?.();
    lane.destroy();
    await closed;
    // But the chunk that was read, whose reader keeps it.
    const { byteLength } = createSlabs(MiB).take();
    const free = Array.from({ length: (2 * MiB) / byteLength - 1 }, () => slabs.take().byteLength);
    expect(new Set(free)).toEqual(new Set([byteLength]));
  });

  it('whose thread has ended leaves what is asked next to one of this thread', async () => {
    const origin = await serve();
    const { lane, told, end } = laneTo(origin);
    await digestOf(await ask(lane, origin));
    end();
    for (let round = 1; round <= 2; round++) expect(await digestOf(await ask(lane, origin))).toBe(sha256(large));
    expect(told.near).toBe(1);
  });

  it('whose thread ends before it said a word does so, too', async () => {
    const origin = await serve();
    const { lane, told, end } = laneTo(origin, false);
    const asked = ask(lane, origin);
    await expect.poll(() => told.orders).toBe(1);
    end();
    expect(await digestOf(await asked)).toBe(sha256(large));
    expect(told.near).toBe(1);
  });

  it('whose thread ends in the middle fails as a connection that was closed', async () => {
    const origin = await serve(
      createServer((_, res) => void res.writeHead(200, { 'content-length': 100 }).write('half')),
    );
    const { lane, end } = laneTo(origin);
    const { body } = await ask(lane, origin);
    const iterator = body[Symbol.asyncIterator]();
    expect(Buffer.from((await iterator.next()).value).toString()).toBe('half');
    end();
    const broken = await iterator.next().catch((error: Error) => error);
    expect(broken).toMatchObject({ message: 'broken', cause: { code: 'ECONNRESET' } });
  });
});

describe('an error from another thread', () => {
  const again = (error: Error) => errorOf(structuredClone(cloneError(error)));
  const coded = (code: string, message = code) => Object.assign(new Error(message), { code });

  it.each([
    ['of the network', coded('ECONNREFUSED')],
    ['of a closed connection', coded('ECONNRESET', 'other side closed')],
    ['of a certificate', coded('DEPTH_ZERO_SELF_SIGNED_CERT')],
    ['of a handshake', new Error('Client network socket disconnected before secure TLS connection was established')],
    ['of a parser', Object.assign(new Error('bad'), { name: 'HTTPParserError' })],
    ['of several addresses', new AggregateError([coded('EHOSTUNREACH'), coded('ECONNREFUSED')], 'all failed')],
    ['of an address that could be allowed', AddressRefused.of('a.example', ['10.0.0.1'])],
    ['of an address that never is', AddressRefused.of('a.example', ['169.254.169.254'])],
  ])('means what it meant there: %s', (_what, error) => {
    const made = again(error);
    expect(describeFailure(made)).toEqual(describeFailure(error));
    expect(isClosedConnection(made)).toBe(isClosedConnection(error));
    expect([made.name, made.message, made.stack]).toEqual([error.name, error.message, error.stack]);
  });

  it('leaves behind what hangs on it', () => {
    expect(again(Object.assign(new Error('a'), { data: 's3cr3t', cause: new Error('s3cr3t') }))).toEqual(
      new Error('a'),
    );
  });

  it('over TLS has the code of the machine’s own check', async () => {
    const { server: tls } = await selfSigned();
    const origin = (await serve(createTlsServer(tls) as unknown as Server)).replace('http:', 'https:');
    const failure = (lane: Lane) => ask(lane, origin).catch((error: unknown) => describeFailure(error));
    const near = createLane(origin, createDialer({ lookup, connected: () => undefined }));
    expect(await failure(laneTo(origin).lane)).toEqual(await failure(near));
  });
});

it('had an upstream count as late where it was the thread that took no order', async () => {
  const origin = await serve();
  const { lane, told } = laneTo(origin, false);
  const response = await ask(lane, origin);
  expect(await digestOf(response)).toBe(sha256(large));
  expect([told.near, told.orders]).toEqual([1, 2]);
});
