import { createServer, type Socket } from 'node:net';
import { gate, type ManualClock, manualClock, startFakeHost } from '@proxycache/test-kit';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { discard } from '../runtime/bytes.ts';
import { createBreakers, signOfFailure } from './breakers.ts';
import { describeFailure } from './connection-failure.ts';
import type { UpstreamEvent } from './events.ts';
import { createTransport, type Transport } from './transport.ts';
import { UpstreamError } from './upstream-error.ts';
import type { UpstreamOptions } from './upstream-options.ts';

let clock: ManualClock;
let events: UpstreamEvent[];

beforeEach(() => {
  clock = manualClock();
  events = [];
});

function transportTo(url: string, options: Partial<UpstreamOptions> = {}): Transport {
  const settings = upstreamSettings({ key: 'hub', url, ...options });
  const transport = createTransport(settings, { clock, userAgent: 'test', observe: (event) => events.push(event) });
  onTestFinished(() => transport.close());
  return transport;
}

/** A host that answers 200, or not at all while it hangs. */
async function startHost() {
  const host = await startFakeHost({}, () => ({ status: 200, headers: {}, body: 'ok' }));
  onTestFinished(() => host.stop());
  return host;
}

/** Sends a GET that waits so long; gives its status or the code of its error. */
async function ask(transport: Transport, url: string, waitMs = 10_000, signal = new AbortController().signal) {
  const request = { url: new URL(url), method: 'GET', headers: {}, deadlineAt: clock.monotonic() + waitMs, signal };
  try {
    const response = await transport.send({ ...request, method: 'GET' });
    await discard(response.body);
    return response.status;
  } catch (error) {
    return (error as UpstreamError).code;
  }
}

const stateOf = (transport: Transport) => transport.hosts()[0]?.state;

describe('what a request shows of its host', () => {
  const timeout = new UpstreamError('timeout', '', { upstream: 'hub' });
  const live = new AbortController().signal;
  const left = (reason?: unknown) => AbortSignal.abort(reason);
  const never = Number.POSITIVE_INFINITY;

  it.each([
    [
      'no connection',
      new UpstreamError('unreachable', '', { upstream: 'hub' }),
      live,
      5,
      true,
      { waited: never, isSudden: true },
    ],
    ['a limit that holds for everybody', timeout, live, 5_000, true, { waited: never }],
    ['the end of the caller’s time', timeout, live, 2_000, false, { waited: 2_000 }],
    [
      'the end of the caller’s time, told by its signal',
      new Error('aborted'),
      left(timeout),
      2_000,
      false,
      { waited: 2_000 },
    ],
    ['the end of a time that was nearly over when it left', timeout, live, 249, false, undefined],
    ['the end of a time in which it did not leave', timeout, live, undefined, false, undefined],
    ['a caller that left', new Error('aborted'), left(), 20_000, false, undefined],
    [
      'a caller that left just when the connection broke',
      new UpstreamError('unreachable', '', { upstream: 'hub' }),
      left(),
      5,
      false,
      undefined,
    ],
    ['a full pool', new UpstreamError('busy', '', { upstream: 'hub' }), live, undefined, true, undefined],
    ['a refused address', new UpstreamError('address-refused', '', { upstream: 'hub' }), live, 5, true, undefined],
  ])('%s', (_what, error, signal, waited, patient, expected) => {
    const sign = signOfFailure(error, { signal, waited, patient });
    expect(sign).toEqual(expected ? { kind: 'failed', ...expected } : { kind: 'nothing' });
  });

  it.each(['EMFILE', 'ENFILE'])('%s is a lack of our own', (code) => {
    expect(describeFailure(Object.assign(new Error('connect'), { code })).code).toBe('busy');
  });
});

it('knows the hosts that were asked lately, and no more of them than it can bear', () => {
  const settings = upstreamSettings({ key: 'hub', url: 'https://reg.example' });
  const breakers = createBreakers(settings, { clock, observe: () => undefined, isOwn: () => false });
  for (let i = 0; i < 5_000; i++) {
    breakers.admit({ url: new URL(`https://cdn-${i}.example/`), deadlineAt: 1_000 })({ kind: 'alive' });
  }
  expect(breakers.hosts().length).toBeLessThan(1_000);
  expect(breakers.hosts()[0]).toEqual({ host: 'cdn-4999.example', state: 'closed', failures: 0 });
});

it('a refusal tells a client when to come back and not which host it was, which its cause does', async () => {
  const host = await startHost();
  host.on({}, { drop: 'rst' });
  const transport = transportTo('http://reg.example', { allowPrivate: ['127.0.0.1'] });
  for (let i = 0; i < 3; i++) expect(await ask(transport, host.url)).toBe('unreachable');
  expect(() => transport.check({ url: new URL(host.url), deadlineAt: 10_000 })).toThrow(
    expect.objectContaining({
      code: 'unavailable',
      retryAt: clock.now() + 2_000,
      host: host.host,
      message: 'hub led to a host that failed again and again and is not asked before 2026-01-01T00:00:02.000Z',
      cause: expect.objectContaining({ message: expect.stringContaining(host.host) }),
    }),
  );
  expect(() => transport.check({ url: new URL('http://reg.example'), deadlineAt: 10_000 })).not.toThrow();
  expect(events).toEqual([
    { type: 'breaker-changed', upstream: 'hub', host: host.host, state: 'open', retryAt: clock.now() + 2_000 },
  ]);
});

it('a kept connection that was closed and its replacement are one attempt', async () => {
  const sockets = new Set<Socket>();
  let connections = 0;
  // Answers the first request of its first connection, and closes all others as soon as they speak.
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    const first = ++connections === 1;
    let requests = 0;
    socket.on('data', () => {
      if (first && ++requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      else socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  const transport = transportTo(url, { breaker: { failures: 2 } });
  expect(await ask(transport, url)).toBe(200);
  expect(await ask(transport, url)).toBe('unreachable');
  expect([connections, transport.hosts()[0]?.failures]).toEqual([2, 1]);
});

it('a probe that finds no free connection makes room for the next one', async () => {
  const host = await startHost();
  const transport = transportTo(host.url, { limits: { maxConnections: 1 } });
  const hanging = host.on({}, { hang: true });
  for (let i = 1; i <= 3; i++) {
    const waiting = ask(transport, host.url, 1_000);
    await expect.poll(() => host.count()).toBe(i);
    await clock.advance(1_000);
    expect(await waiting).toBe('timeout');
  }
  hanging();
  const held = gate();
  host.on({ times: 1 }, { gate: held });
  const patient = ask(transport, host.url, 30_000);
  await held.reached;
  await clock.advance(2_000);
  for (let i = 0; i < 3; i++) {
    const probe = ask(transport, host.url, 500);
    expect(await ask(transport, host.url, 500)).toBe('unavailable');
    await clock.advance(500);
    expect([await probe, stateOf(transport)]).toEqual(['busy', 'half-open']);
  }
  held.open();
  expect(await patient).toBe(200);
  expect([await ask(transport, host.url, 500), stateOf(transport)]).toEqual([200, 'closed']);
});
