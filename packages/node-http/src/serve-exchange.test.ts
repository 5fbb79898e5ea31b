import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { createServer as createTlsServer, request as requestTls } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { HttpResponse } from '@proxycache/core';
import { selfSigned } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createNodeHandler } from './node-handler.ts';

const handlerOf = (body: () => HttpResponse['body']) =>
  createNodeHandler({ handle: async () => ({ status: 200, headers: {}, body: body() }) });

async function* halfABody(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('half');
  throw new Error('the disk broke');
}

// No reset here: net.Socket.resetAndDestroy() is for TCP alone.
describe('a body that breaks is not taken for a whole one', () => {
  test('over a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'proxycache-'));
    const socketPath = join(folder, 'http.sock');
    const server = createServer(handlerOf(halfABody));
    onTestFinished(async () => {
      server.close();
      await rm(folder, { recursive: true });
    });
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    const answer = new Promise<string>((resolve, reject) => {
      request({ socketPath, agent: false }, (incoming) => resolve(text(incoming)))
        .on('error', reject)
        .end();
    });
    await expect(answer).rejects.toThrow('aborted');
  });

  test('over TLS, where a whole one arrives', async () => {
    const { ca, server: identity } = await selfSigned();
    const whole = Buffer.alloc(300_000, 'whole');
    let body: () => HttpResponse['body'] = halfABody;
    const server = createTlsServer(
      identity,
      handlerOf(() => body()),
    );
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const ask = () =>
      new Promise<string>((resolve, reject) => {
        const outgoing = requestTls({ port, host: '127.0.0.1', ca, agent: false }, (incoming) =>
          resolve(text(incoming)),
        );
        outgoing.on('error', reject).end();
      });
    await expect(ask()).rejects.toThrow('aborted');
    body = async function* () {
      yield whole;
    };
    expect(await ask()).toBe(whole.toString());
  });
});

// Of the host's own making: core's own bodies say what they mean.
describe('a source that is none', () => {
  async function asked(source: object): Promise<{ status: number | undefined; told: unknown[] }> {
    const body = { [Symbol.asyncIterator]: () => source } as AsyncIterable<Uint8Array>;
    const told: unknown[] = [];
    const handler = createNodeHandler(
      { handle: async () => ({ status: 200, headers: {}, body }) },
      { onError: (error) => told.push(error) },
    );
    const server = createServer(handler);
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const outgoing = request({ port, host: '127.0.0.1', agent: false }, (incoming) => {
        incoming.resume();
        resolve(incoming.statusCode);
      });
      outgoing.on('error', reject).end();
    });
    return { status, told };
  }

  test('because its next() gives nothing, is answered with a 500, and closed', async () => {
    let isClosed = false;
    const source = {
      next: async () => undefined,
      return: async () => {
        isClosed = true;
        return { done: true, value: undefined };
      },
    };
    expect(await asked(source)).toEqual({ status: 500, told: [expect.any(TypeError)] });
    expect(isClosed).toBe(true);
  });

  test('because its next() throws at once, is answered with a 500', async () => {
    const source = {
      next() {
        throw new Error('not ready');
      },
    };
    expect(await asked(source)).toEqual({ status: 500, told: [new Error('not ready')] });
  });
});
