import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { listenOnLoopback } from '@proxycache/contract';
import type { Bytes, HttpRequest, HttpResponse } from '@proxycache/core';
import { afterEach, describe, expect, test } from 'vitest';
import { createNodeHandler, type NodeHandlerOptions } from './node-handler.ts';
import { parseStalledFor } from './stalled-client.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A body without an end, and whether it was let go. */
function endless(): { body: Bytes; closed: Promise<void> } {
  let close = (): void => undefined;
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const iterator = {
    next: async () => ({ done: false as const, value: new Uint8Array(64 * 1024) }),
    async return() {
      close();
      return { done: true as const, value: undefined };
    },
  };
  return { body: { [Symbol.asyncIterator]: () => iterator }, closed };
}

/** A server before a made-up answer, a client that has sent its request, and the response that the server writes. */
async function ask(answer: HttpResponse, options: NodeHandlerOptions & { hostTimeout?: number; isAtOnce?: boolean }) {
  const { hostTimeout = 0, isAtOnce = false, ...own } = options;
  const fromMemory = () => (isAtOnce ? answer : undefined);
  const handler = createNodeHandler({ handle: Object.assign(async () => answer, { fromMemory }) }, own);
  let write = (_res: ServerResponse): void => undefined;
  const response = new Promise<ServerResponse>((resolve) => {
    write = resolve;
  });
  const server = createServer((req, res) => {
    write(res);
    handler(req, res);
  });
  server.timeout = hostTimeout;
  const host = await listenOnLoopback(server, '');
  closing.push(host.close);
  const client: Socket = connect({ port: Number(new URL(host.url).port), host: '127.0.0.1' });
  closing.push(() => void client.destroy());
  client.on('error', () => undefined);
  client.write('GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n');
  return { client, response: await response };
}

describe('a client that accepts nothing of its answer', () => {
  test('is cut off after stalledFor: its body is let go, onError is told', async () => {
    const errors: unknown[] = [];
    const { body, closed } = endless();
    const { client, response } = await ask(
      { status: 200, headers: {}, body },
      { stalledFor: 50, onError: (error) => errors.push(error) },
    );
    client.pause();
    await closed;
    expect(response.destroyed).toBe(true);
    expect(errors).toMatchObject([{ code: 'aborted', message: expect.stringContaining('nothing for 0.05 s') }]);
  });

  test.each([false, true])('is cut off also where the answer is in memory (at once: %s)', async (isAtOnce) => {
    const body = new Uint8Array(32 * 1024 * 1024);
    const errors: unknown[] = [];
    const onError = (error: unknown) => errors.push(error);
    const { client, response } = await ask({ status: 200, headers: {}, body }, { stalledFor: 50, onError, isAtOnce });
    client.pause();
    await once(response, 'close');
    expect(errors).toMatchObject([{ code: 'aborted' }]);
  });

  test('is let be while it is the answer that is waited for', async () => {
    let go = (): void => undefined;
    const more = new Promise<void>((resolve) => {
      go = resolve;
    });
    async function* slow() {
      yield Buffer.from('one ');
      await more;
      yield Buffer.from('two');
    }
    const headers = { 'content-length': '7' };
    const { client, response } = await ask({ status: 200, headers, body: slow() }, { stalledFor: 50 });
    let text = '';
    client.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
    });
    await once(response, 'timeout');
    go();
    await expect.poll(() => text).toMatch(/one two$/);
  });

  test('is left to a shorter limit of the host', async () => {
    const errors: unknown[] = [];
    const { body, closed } = endless();
    const options = { hostTimeout: 50, stalledFor: 60_000, onError: (error: unknown) => errors.push(error) };
    const { client } = await ask({ status: 200, headers: {}, body }, options);
    client.pause();
    await closed;
    expect(errors).toEqual([]);
  });
});

const hosts = [
  { is: 'none', ofHost: 0 },
  { is: 'a longer one', ofHost: 120_000 },
];

describe.each(hosts)(
  'where the host has no keepAliveTimeout, and $is of its own, the limit of an answer',
  ({ ofHost }) => {
    /** A client before a server whose cache answers below /v2/, and the limits that the answers went out with. */
    async function open() {
      const limits: string[] = [];
      async function* body(note: () => void) {
        note();
        yield Buffer.from('of the cache\n');
      }
      const handle = async ({ context }: HttpRequest) => ({
        status: 200,
        headers: {},
        body: body(context as () => void),
      });
      const note = (req: IncomingMessage) => void limits.push(`${req.url} ${req.socket.timeout ?? 0}`);
      const handler = createNodeHandler({ handle }, { stalledFor: '1m', context: (req) => () => note(req) });
      const server = createServer((req, res) => {
        if (req.url !== '/host') return handler(req, res);
        if (res.socket) note(req);
        else res.once('socket', () => note(req));
        res.end('of the host\n');
      });
      server.keepAliveTimeout = 0;
      server.timeout = ofHost;
      const host = await listenOnLoopback(server, '');
      closing.push(host.close);
      const client = connect({ port: Number(new URL(host.url).port), host: '127.0.0.1' });
      closing.push(() => void client.destroy());
      let text = '';
      client.setEncoding('latin1').on('data', (chunk) => {
        text += chunk;
      });
      const ask = (...paths: string[]) =>
        client.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).join(''));
      return { ask, limits, answers: () => text.match(/of the \w+/g) };
    }

    test('went on for the next answer of its connection, and cut that off', async () => {
      const { ask, limits, answers } = await open();
      ask('/v2/');
      await expect.poll(answers).toEqual(['of the cache']);
      ask('/host');
      await expect.poll(answers).toEqual(['of the cache', 'of the host']);
      expect(limits).toEqual(['/v2/ 60000', `/host ${ofHost}`]);
    });

    test('went on for a pipelined one', async () => {
      const { ask, limits, answers } = await open();
      ask('/v2/', '/v2/', '/host');
      await expect.poll(answers).toEqual(['of the cache', 'of the cache', 'of the host']);
      expect(limits.at(-1)).toBe(`/host ${ofHost}`);
    });
  },
);

test('stalledFor is a duration above 0, or Infinity', () => {
  expect([parseStalledFor(), parseStalledFor('2s'), parseStalledFor(Number.POSITIVE_INFINITY)]).toEqual([
    300_000,
    2_000,
    Number.POSITIVE_INFINITY,
  ]);
  for (const wrong of [0, -1, 'soon', Number.NaN, null]) {
    const make = () => createNodeHandler({ handle: async () => undefined }, { stalledFor: wrong as number });
    expect(make).toThrow('stalledFor: expected a duration');
  }
});
