import { lookup } from 'node:dns';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { MessageChannel } from 'node:worker_threads';
import { manualClock, seededBytes, selfSigned, sha256 } from '@proxycache/test-kit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { collect, discard } from '../runtime/bytes.ts';
import { createSlabs, type Slabs } from '../runtime/slabs.ts';
import { createDialer, type TlsPlan } from './dialer.ts';
import { type ExchangeResponse, receive, type TransferPlan } from './exchange.ts';
import { createLane, type Lane } from './lane.ts';
import { requestHead } from './lane-request.ts';
import { networkDefaults } from './network-defaults.ts';
import { createRemoteLane } from './remote-lane.ts';
import { createLaneServer } from './serve-lane.ts';

const MiB = 1024 * 1024;
const large = Buffer.from(seededBytes('lane', 8 * MiB));

interface Server {
  origin: string;
  /** The requests, as they came. */
  requests: string[];
  connections(): number;
  open(): number;
}

/** A server that answers each request with what it is told, down to the byte. */
async function serve(
  answer: (socket: Socket, nth: number) => void,
  tls?: { key: string; cert: string; ca?: string; requestCert?: boolean },
): Promise<Server> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const take = (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        requests.push(text.slice(0, end + 4));
        text = text.slice(end + 4);
        answer(socket, requests.length);
      }
    });
  };
  const server = tls ? createTlsServer(tls, take) : createServer(take);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it does not listen');
  const origin = `${tls ? 'https' : 'http'}://127.0.0.1:${address.port}`;
  return { origin, requests, connections: () => connections, open: () => sockets.size };
}

const dialer = createDialer({ lookup, connected: () => undefined });

const near = (origin: string): Lane => createLane(origin, dialer);

/** A lane over a port, as to another thread. */
function far(origin: string): Lane {
  const { port1, port2 } = new MessageChannel();
  createLaneServer()(port2, { origin, defaults: networkDefaults({ isSecure: true }) });
  return createRemoteLane({
    port: port1,
    connected: () => undefined,
    instead() {
      throw new Error('no thread has ended here');
    },
  });
}

const planTo = (origin: string, tls: TlsPlan = { insecure: false }): TransferPlan => ({
  request: { origin, path: '/v2/a/blobs/b?x=y', method: 'GET', headers: { range: 'bytes=0-' } },
  host: { tls, isOwn: true },
  limits: { connect: 5_000, headers: 30_000, idle: 30_000, within: Number.POSITIVE_INFINITY },
});

/** Carries a plan out over a lane; `ends` gets whether the connection could be used again. */
function ask(
  lane: Lane,
  plan: TransferPlan,
  {
    slabs,
    ends = [],
    signal = new AbortController().signal,
    done = () => undefined,
  }: { slabs?: Slabs; ends?: boolean[]; signal?: AbortSignal; done?: () => void } = {},
): Promise<ExchangeResponse> {
  return receive(plan, {
    connection: { dispatcher: lane, valve: undefined },
    clock: manualClock(),
    slabs,
    signal,
    hooks: {
      late: (step) => new Error(`late: ${step}`),
      broken: (cause) => new Error('broken', { cause }),
      done(reusable) {
        ends.push(reusable);
        done();
      },
    },
  });
}

const head = (length: number, ...lines: string[]) =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

const textOf = async ({ body }: ExchangeResponse) => Buffer.from((await collect(body, 1e9))!).toString('latin1');

async function chunksOf({ body }: ExchangeResponse): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return chunks;
}

/** Slabs that tell how many of them are out. */
function countSlabs(isShared: boolean): Slabs & { out(): number } {
  const slabs = createSlabs(1e9, { shared: isShared });
  const out = new Set<ArrayBufferLike>();
  return {
    take() {
      const slab = slabs.take();
      out.add(slab.buffer);
      return slab;
    },
    give(memory) {
      out.delete(memory.buffer);
      slabs.give(memory);
    },
    out: () => out.size,
  };
}

it('a lane asks at once over a connection that has been quiet since its last answer', async () => {
  const server = await serve((socket) => socket.write(`${head(2)}ok`));
  const lane = near(server.origin);
  onTestFinished(() => lane.destroy());
  const { request, host } = planTo(server.origin);
  const start = () =>
    new Promise<void>((resolve, reject) => {
      let isAsked = false;
      lane.dispatch(
        { ...request, method: 'GET', body: null, host },
        {
          onRequestStart() {
            isAsked = true;
          },
          onResponseEnd: () => resolve(),
          onResponseError: (_, error) => reject(error),
        },
      );
      askedAtOnce.push(isAsked);
    });
  const askedAtOnce: boolean[] = [];
  await start();
  await start();
  for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
  await start();
  // Over a new one, over one that was just answered on, over a quiet one.
  expect(askedAtOnce).toEqual([false, false, true]);
  expect(server.connections()).toBe(1);
});

describe.each([
  ['of this thread', near, false],
  ['of another thread', far, true],
])('%s:', (_place, make, isShared) => {
  function laneTo(origin: string): Lane {
    const lane = make(origin);
    onTestFinished(() => lane.destroy());
    return lane;
  }

  const countedSlabs = () => countSlabs(isShared);

  describe('a lane', () => {
    it('asks as undici does, and takes a large body in large pieces', async () => {
      const server = await serve((socket) => {
        socket.write(head(large.byteLength, 'ETag: "a"'));
        socket.write(large);
      });
      const response = await ask(laneTo(server.origin), planTo(server.origin));
      expect(response).toMatchObject({ status: 200, headers: { etag: '"a"', 'content-length': String(8 * MiB) } });
      expect(sha256(Buffer.concat(await chunksOf(response)))).toBe(sha256(large));
      const host = new URL(server.origin).host;
      expect(server.requests).toEqual([
        `GET /v2/a/blobs/b?x=y HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\nrange: bytes=0-\r\n\r\n`,
      ]);
    });

    it('is carried out by a plan that was cloned, as into a worker thread', async () => {
      const server = await serve((socket) => socket.write(`${head(5)}hello`));
      const plan = structuredClone(planTo(server.origin));
      expect(await textOf(await ask(laneTo(server.origin), plan))).toBe('hello');
    });

    it('passes memory of the slabs on with each piece, and keeps none when it is done', async () => {
      const server = await serve((socket) => {
        socket.write(head(large.byteLength));
        socket.write(large);
      });
      const slabs = countedSlabs();
      const lane = laneTo(server.origin);
      for (let round = 0; round < 2; round++) {
        const { body } = await ask(lane, planTo(server.origin), { slabs });
        const kept: Buffer[] = [];
        for await (const chunk of body) {
          kept.push(Buffer.from(chunk));
          slabs.give(chunk);
        }
        expect(sha256(Buffer.concat(kept))).toBe(sha256(large));
        await expect.poll(() => slabs.out()).toBe(0);
      }
    });

    it('gives memory back that nobody will read, when its reader leaves or is told to', async () => {
      const server = await serve((socket) => {
        socket.write(head(large.byteLength));
        socket.write(large);
      });
      const slabs = countedSlabs();
      const { body } = await ask(laneTo(server.origin), planTo(server.origin), { slabs });
      const iterator = body[Symbol.asyncIterator]();
      slabs.give((await iterator.next()).value);
      await iterator.return?.();
      await expect.poll(() => slabs.out()).toBe(0);
      const left = new AbortController();
      await ask(laneTo(server.origin), planTo(server.origin), { slabs, signal: left.signal });
      left.abort(new Error('left'));
      // What had come before is still read first, and so is the reader's.
      await expect.poll(() => slabs.out()).toBeLessThanOrEqual(1);
    });

    it('holds the server back while nobody reads', async () => {
      let sent = 0;
      const server = await serve((socket) => {
        socket.write(head(1024 * MiB));
        const more = () => {
          while (socket.writable && socket.write(large)) sent += large.byteLength;
        };
        socket.on('drain', more);
        more();
      });
      const slabs = countedSlabs();
      const { body } = await ask(laneTo(server.origin), planTo(server.origin), { slabs });
      let before = -1;
      await expect
        .poll(
          () => {
            const settled = before === sent;
            before = sent;
            return settled;
          },
          { interval: 100 },
        )
        .toBe(true);
      // Read, on its way to be read, and filled meanwhile.
      expect(slabs.out()).toBeLessThanOrEqual(isShared ? 4 : 3);
      await discard(body);
    });

    it('passes on what is here when the server pauses', async () => {
      const sockets: Socket[] = [];
      const server = await serve((socket) => {
        sockets.push(socket);
        socket.write(`${head(10)}hel`);
      });
      const { body } = await ask(laneTo(server.origin), planTo(server.origin), { slabs: countedSlabs() });
      const iterator = body[Symbol.asyncIterator]();
      expect(Buffer.from((await iterator.next()).value).toString()).toBe('hel');
      sockets[0]!.write('lo');
      expect(Buffer.from((await iterator.next()).value).toString()).toBe('lo');
      sockets[0]!.write(' you!');
      expect(Buffer.from((await iterator.next()).value).toString()).toBe(' you!');
      expect((await iterator.next()).done).toBe(true);
    });

    it('never shows memory that something else came into, however the body is cut', async () => {
      const send = async (socket: Socket) => {
        socket.write(head(large.byteLength));
        for (let at = 0, size = 1; at < large.byteLength; at += size, size = (size * 7) % 300_007) {
          socket.write(large.subarray(at, at + size));
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const server = await serve((socket) => void send(socket));
      const slabs = countedSlabs();
      const chunks = await chunksOf(await ask(laneTo(server.origin), planTo(server.origin), { slabs }));
      expect(sha256(Buffer.concat(chunks))).toBe(sha256(large));
    });

    it.each([0, 1, 64 * 1024, 64 * 1024 + 1, 256 * 1024, MiB + 1])(
      'takes a body of %i bytes to its end',
      async (size) => {
        const bytes = large.subarray(0, size);
        const server = await serve((socket) => socket.write(Buffer.concat([Buffer.from(head(size)), bytes])));
        const lane = laneTo(server.origin);
        for (let round = 0; round < 3; round++) {
          const ends: boolean[] = [];
          const chunks = await chunksOf(await ask(lane, planTo(server.origin), { ends }));
          expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
          expect(ends).toEqual([true]);
        }
        expect(server.connections()).toBe(1);
      },
    );

    it('over TLS shows and checks certificates as everything else does', async () => {
      const { ca, server: own, client } = await selfSigned({ hosts: ['127.0.0.1'] });
      const server = await serve(
        (socket) => {
          socket.write(head(large.byteLength));
          socket.write(large);
        },
        { ...own, ca, requestCert: true },
      );
      const trusted = planTo(server.origin, { ca: [ca], ...client, insecure: false });
      const lane = laneTo(server.origin);
      for (let round = 0; round < 2; round++) {
        const chunks = await chunksOf(await ask(lane, trusted, { slabs: countedSlabs() }));
        expect(sha256(Buffer.concat(chunks))).toBe(sha256(large));
      }
      expect(server.connections()).toBe(1);
      await expect(ask(laneTo(server.origin), planTo(server.origin))).rejects.toThrow('certificate');
    });
  });

  describe('the connection of a lane', () => {
    it.each(['http', 'https'])(
      'whose reader was slow to the end of a body is not held up after it (%s)',
      async (protocol) => {
        const tls = protocol === 'https' ? (await selfSigned()).server : undefined;
        const server = await serve(
          (socket) => socket.write(Buffer.concat([Buffer.from(head(large.byteLength)), large])),
          tls,
        );
        const lane = laneTo(server.origin);
        for (let round = 0; round < 5; round++) {
          const { body } = await ask(lane, planTo(server.origin, { insecure: true }));
          let length = 0;
          for await (const chunk of body) {
            length += chunk.byteLength;
            for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
          }
          expect(length).toBe(large.byteLength);
        }
        expect(server.connections()).toBe(1);
      },
    );

    it('that the server closes behind its answer is made anew', async () => {
      const server = await serve((socket) => socket.end(`${head(2, 'Connection: close')}ok`));
      const lane = laneTo(server.origin);
      for (let round = 0; round < 2; round++) expect(await textOf(await ask(lane, planTo(server.origin)))).toBe('ok');
      expect(server.connections()).toBe(2);
    });

    it('that said close is not used again, though the server leaves it open', async () => {
      const server = await serve((socket) => socket.write(`${head(2, 'Connection: close')}ok`));
      const lane = laneTo(server.origin);
      for (let round = 0; round < 2; round++) expect(await textOf(await ask(lane, planTo(server.origin)))).toBe('ok');
      expect(server.connections()).toBe(2);
    });

    it.each([
      [
        'with the body',
        (socket: Socket) => socket.write(`${head(2)}okHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`),
      ],
      [
        'a moment later',
        (socket: Socket) => {
          socket.write(`${head(2)}ok`);
          setImmediate(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'));
        },
      ],
    ])(
      'that brings more than was asked for is closed: nothing of it answers the next request (%s)',
      async (_when, say) => {
        const server = await serve((socket, nth) => (nth === 1 ? say(socket) : socket.write(`${head(2)}ok`)));
        const lane = laneTo(server.origin);
        expect(await textOf(await ask(lane, planTo(server.origin)))).toBe('ok');
        await expect.poll(() => server.open()).toBe(0);
        expect(await textOf(await ask(lane, planTo(server.origin)))).toBe('ok');
        expect(server.connections()).toBe(2);
      },
    );

    it('that breaks off gives what had come, and then fails', async () => {
      for (const leave of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
        const sockets: Socket[] = [];
        const server = await serve((socket) => {
          sockets.push(socket);
          socket.write(`${head(10)}hello`);
        });
        const ends: boolean[] = [];
        const { body } = await ask(laneTo(server.origin), planTo(server.origin), { ends });
        const iterator = body[Symbol.asyncIterator]();
        expect(Buffer.from((await iterator.next()).value).toString()).toBe('hello');
        leave(sockets[0]!);
        await expect(iterator.next()).rejects.toThrow('broken');
        expect(ends).toEqual([false]);
      }
    });

    it('that ends before an answer fails as closed', async () => {
      const server = await serve((socket) => socket.end());
      await expect(ask(laneTo(server.origin), planTo(server.origin))).rejects.toMatchObject({ code: 'ECONNRESET' });
    });

    it('is not made again once it was given up', async () => {
      const server = await serve((socket) => socket.write(`${head(2)}ok`));
      const lane = laneTo(server.origin);
      expect(await textOf(await ask(lane, planTo(server.origin)))).toBe('ok');
      lane.destroy();
      await expect(ask(lane, planTo(server.origin))).rejects.toThrow('given up');
      expect(server.connections()).toBe(1);
    });
  });

  describe('an answer that a lane does not understand', () => {
    const chunked = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n`;

    it.each([
      ['in chunks', chunked],
      ['in chunks, by text beyond ASCII', chunked.replace('\r\n', '\r\nX-A: caf\u00e9\r\n')],
      ['after an informational one', `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${head(5)}hello`],
      ['of an older version', 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello'],
      ['that ends with the connection', 'HTTP/1.1 200 OK\r\n\r\nhello'],
    ])('is read by undici from its first byte on, without asking twice: %s', async (_what, bytes) => {
      const server = await serve((socket) => socket.end(bytes, 'latin1'));
      const lane = laneTo(server.origin);
      expect(await textOf(await ask(lane, planTo(server.origin)))).toBe('hello');
      expect(server.requests).toHaveLength(1);
      expect(await textOf(await ask(lane, planTo(server.origin)))).toBe('hello');
      expect(server.connections()).toBe(2);
    });

    it('means the same however its bytes come', async () => {
      for (let cut = 1; cut < chunked.length; cut += 3) {
        const server = await serve((socket) => {
          socket.write(chunked.slice(0, cut));
          setImmediate(() => socket.end(chunked.slice(cut)));
        });
        expect(await textOf(await ask(laneTo(server.origin), planTo(server.origin)))).toBe('hello');
      }
    });

    it('is large and comes whole, at its reader\u2019s speed', async () => {
      const server = await serve((socket) => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        socket.end(large);
      });
      const { body } = await ask(laneTo(server.origin), planTo(server.origin));
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) {
        chunks.push(chunk);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(sha256(Buffer.concat(chunks))).toBe(sha256(large));
    });

    it.each([
      ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello'],
      ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello'],
      ['another protocol', 'SSH-2.0-OpenSSH\r\n'],
      ['a head without end', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(20_000)}`],
      ['a head that breaks off', 'HTTP/1.1 200 OK\r\nContent-Le'],
    ])('and that nobody should is refused, and its connection closed: %s', async (_what, bytes) => {
      const server = await serve((socket) => {
        socket.write(bytes);
        if (bytes.endsWith('Le')) socket.end();
      });
      const ends: boolean[] = [];
      await expect(ask(laneTo(server.origin), planTo(server.origin), { ends })).rejects.toThrow();
      expect(ends).toEqual([false]);
      await expect.poll(() => server.open()).toBe(0);
    });

    it.each([
      ['after an informational one', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n', ''],
      ['by text beyond ASCII', '', 'X-Owner: J\u00fcrgen\r\n'],
    ])('was given to the next request over the same lane too: %s', async (_what, before, line) => {
      const server = await serve((socket, nth) => {
        const body = String(nth).repeat(20_000);
        socket.write(
          `${before}HTTP/1.1 200 OK\r\n${line}X-Nth: ${nth}\r\nContent-Length: 20000\r\n\r\n${body}`,
          'latin1',
        );
      });
      const lane = laneTo(server.origin);
      const plan = planTo(server.origin);
      const answers: Promise<ExchangeResponse>[] = [];
      // As a pool does it: whoever waits for the connection has it before the one before has closed.
      const next = (): void => void (answers.length < 4 && answers.push(ask(lane, plan, { done: next })));
      next();
      for (let nth = 1; nth <= 4; nth++) {
        await expect.poll(() => answers.length).toBeGreaterThanOrEqual(nth);
        const answer = await answers[nth - 1]!;
        expect([answer.headers['x-nth'], await textOf(answer)]).toEqual([String(nth), String(nth).repeat(20_000)]);
      }
    });

    it('ends with whoever asked', async () => {
      const server = await serve((socket) =>
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n'),
      );
      const left = new AbortController();
      const { body } = await ask(laneTo(server.origin), planTo(server.origin), { signal: left.signal });
      const iterator = body[Symbol.asyncIterator]();
      await iterator.next();
      left.abort(new Error('left'));
      await expect(iterator.next()).rejects.toThrow('left');
      await expect.poll(() => server.open()).toBe(0);
    });
  });
});

it.each([
  ['a header with a line end', '/a', { 'if-match': '"a"\r\nX-Evil: 1' }],
  ['a header that is no name', '/a', { 'x:y': 'a' }],
  ['a path with a line end', '/a\r\nX-Evil: 1', {}],
  ['a path with a space', '/a HTTP/1.1', {}],
])('a lane sends nothing that could be read as another request: %s', (_what, path, headers) => {
  expect(() => requestHead('http://a.example', { path, headers })).toThrow(TypeError);
});
