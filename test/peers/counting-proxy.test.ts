import { afterEach, beforeEach, expect, it } from 'vitest';
import { type CountingProxy, startCountingProxy } from './counting-proxy.ts';
import { type LoopbackServer, startLoopbackServer } from './loopback-server.ts';

const body = Buffer.alloc(200_000, 'x');
let target: LoopbackServer;
let proxy: CountingProxy;

beforeEach(async () => {
  target = await startLoopbackServer((_, response) => void response.writeHead(200).end(body));
  proxy = await startCountingProxy(() => target.url);
});
afterEach(async () => {
  await proxy.stop();
  await target.stop();
});

/** What is received of an answer, and how it ended. */
async function receive(signal?: AbortSignal): Promise<{ received: number; wrong: number; end: unknown }> {
  const answer = await fetch(`${proxy.url}/a/b`, signal ? { signal } : {});
  const got = { received: 0, wrong: -1 };
  try {
    for await (const chunk of answer.body!) {
      const at = chunk.findIndex((byte: number) => byte !== body[0]);
      if (at >= 0) got.wrong = got.received + at;
      got.received += chunk.length;
    }
    return { ...got, end: 'whole' };
  } catch (error) {
    const cause = (error as Error).cause as { code?: string } | undefined;
    return { ...got, end: cause?.code ?? (error as Error).name };
  }
}

it('passes an answer on whole and counts its bytes', async () => {
  expect(await receive()).toEqual({ received: 200_000, wrong: -1, end: 'whole' });
  expect(proxy.requests).toMatchObject([{ method: 'GET', path: '/a/b', status: 200, bytes: 200_000 }]);
});

it('lets a fault each befall the answers whose path it is meant for, and then no more', async () => {
  proxy.befall('/other', [{ cutAfter: 1, how: 'fin' }]);
  proxy.befall('/b', [{ cutAfter: 150_000, how: 'fin' }, { cutAfter: 150_000, how: 'rst' }, { corruptAt: 199_999 }]);
  expect(await receive()).toMatchObject({ received: 150_000, end: 'UND_ERR_SOCKET' });
  expect(await receive()).toMatchObject({ received: 150_000, end: 'ECONNRESET' });
  expect(await receive()).toEqual({ received: 200_000, wrong: 199_999, end: 'whole' });
  expect(await receive()).toEqual({ received: 200_000, wrong: -1, end: 'whole' });
  expect(proxy.requests.map(({ bytes }) => bytes)).toEqual([150_000, 150_000, 200_000, 200_000]);
});

it('stalls and keeps the connection', async () => {
  proxy.befall('/b', [{ stallAfter: 1000 }]);
  expect(await receive(AbortSignal.timeout(300))).toMatchObject({ received: 1000, end: 'TimeoutError' });
});

it('answers with a status in place of the answer', async () => {
  proxy.befall('/b', [{ status: 429, headers: { 'retry-after': '30' } }]);
  const answer = await fetch(`${proxy.url}/a/b`);
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '30']);
  expect(await answer.json()).toMatchObject({ errors: [{ code: 'TOOMANYREQUESTS' }] });
});
