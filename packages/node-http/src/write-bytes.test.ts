import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { listenOnLoopback } from '@proxycache/contract';
import type { Bytes } from '@proxycache/core';
import { afterEach, describe, expect, test } from 'vitest';
import { createNodeHandler } from './node-handler.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function listen(listener: RequestListener): Promise<string> {
  const host = await listenOnLoopback(createServer(listener), '');
  closing.push(host.close);
  return host.url;
}

/** A body of so many chunks, how many of them were taken, and whether it was let go before its end. */
function chunked(count: number, size = 4): Bytes & { taken(): number; isClosed(): boolean } {
  let taken = 0;
  let closed = false;
  const iterator = {
    async next(): Promise<IteratorResult<Uint8Array>> {
      return taken === count
        ? { done: true, value: undefined }
        : { done: false, value: Buffer.alloc(size, String(taken++)) };
    },
    async return(): Promise<IteratorResult<Uint8Array>> {
      closed = true;
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator, taken: () => taken, isClosed: () => closed };
}

const serving = (body: () => Bytes, headers = {}) =>
  createNodeHandler({ handle: async () => ({ status: 200, headers, body: body() }) });

/** Middleware whose `write` answers something of its own. */
function answering(res: ServerResponse, answer: (write: () => boolean) => unknown): void {
  const write = res.write.bind(res);
  res.write = ((chunk: Uint8Array) => answer(() => write(chunk))) as typeof res.write;
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe('middleware that wraps write', () => {
  test('and returns nothing made a pull wait for ever for a drain that never came', async () => {
    const handler = serving(() => chunked(3), { 'content-length': '12' });
    const url = await listen((req, res) => {
      answering(res, (write) => void write());
      handler(req, res);
    });
    expect(await (await fetch(url)).text()).toBe('000011112222');
  });

  test('and returns nothing is written through at the client’s pace', async () => {
    const count = 64;
    const size = 1024 * 1024;
    const body = chunked(count, size);
    const handler = serving(() => body);
    let response: ServerResponse | undefined;
    const url = await listen((req, res) => {
      response = res;
      answering(res, (write) => void write());
      handler(req, res);
    });
    const client = connect(Number(new URL(url).port), '127.0.0.1');
    closing.push(() => void client.destroy());
    client.pause();
    client.write('GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    await expect.poll(() => response?.writableNeedDrain).toBe(true);
    await turns(100);
    expect(response?.writableLength).toBeLessThan(2 * size);
    expect(body.taken()).toBeLessThan(count);
    let length = 0;
    for await (const chunk of client) length += chunk.byteLength;
    expect(length).toBeGreaterThan(count * size);
  });

  test('and has a buffer with a drain of its own is believed when it takes more', async () => {
    const handler = serving(() => chunked(3, 256 * 1024));
    const url = await listen((req, res) => {
      const on = res.on.bind(res);
      res.on = ((event: string, listener: () => void) =>
        event === 'drain' ? res : on(event, listener)) as typeof res.on;
      answering(res, (write) => {
        write();
        return true;
      });
      handler(req, res);
    });
    expect((await (await fetch(url)).arrayBuffer()).byteLength).toBe(3 * 256 * 1024);
  });

  test('and drains while it writes was waited for, as if it would drain again', async () => {
    const handler = serving(() => chunked(3));
    const url = await listen((req, res) => {
      answering(res, (write) => {
        write();
        res.emit('drain');
        return false;
      });
      handler(req, res);
    });
    expect(await (await fetch(url)).text()).toBe('000011112222');
  });

  test('and ends the response by itself is not waited for: the body is let go', async () => {
    const body = chunked(3);
    const handler = serving(() => body);
    const url = await listen((req, res) => {
      answering(res, (write) => {
        write();
        res.end();
        return false;
      });
      handler(req, res);
    });
    expect(await (await fetch(url)).text()).toBe('0000');
    await expect.poll(body.isClosed).toBe(true);
  });
});

test('a chunk was written after the host had ended the response, instead of letting the body go', async () => {
  const body = chunked(3);
  const errors: unknown[] = [];
  let response: ServerResponse | undefined;
  async function* ending(): Bytes {
    for await (const chunk of body) {
      yield chunk;
      await turns(1);
      response?.end();
    }
  }
  const handler = serving(ending);
  const url = await listen((req, res) => {
    response = res.on('error', (error) => errors.push(error));
    handler(req, res);
  });
  expect(await (await fetch(url)).text()).toBe('0000');
  await expect.poll(body.isClosed).toBe(true);
  expect(errors).toEqual([]);
});
