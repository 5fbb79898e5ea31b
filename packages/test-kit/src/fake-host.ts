import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Answer, Exchange } from './answer.ts';
import { createFaults, type Fault, matches, type RequestMatch, type Step } from './fault.ts';
import { send } from './send.ts';

/** A request in a fake host's log. */
export interface LoggedRequest extends Exchange {
  /** The status answered; `undefined` while, or because, there is no answer. */
  status: number | undefined;
  /** Bytes of the body handed to the connection. */
  sentBytes: number;
  /** Whether the connection closed before the answer was whole, from either side. */
  aborted: boolean;
}

/** A server on a loopback address that keeps a log and fails on demand. */
export interface FakeHost {
  /** `http://127.0.0.1:<port>` or `https://`, without a slash at its end. */
  readonly url: string;
  /** Host and port. */
  readonly host: string;
  /** Every request since the start or the last `clear()`, in order of arrival. */
  readonly requests: readonly LoggedRequest[];
  /** How many requests of the log are meant. */
  count(match?: RequestMatch): number;
  /** Bytes of the bodies sent to the requests of the log that are meant. */
  sentBytes(match?: RequestMatch): number;
  /** How many requests are being answered now. */
  underWay(): number;
  /** TCP connections: open now, and accepted since the start. */
  connections(): { open: number; accepted: number };
  /** Empties the log. */
  clear(): void;
  /** Makes requests fail, `times` of them (default: all). See {@link Fault}. The answer takes the fault away. */
  on(match: RequestMatch & { times?: number }, fault: Fault): () => void;
  /**
   * A fault for each of the requests that are meant, in order: `script({ method: 'GET' }, [{ status: 503 }, 'ok', …])`; then
   * nothing more. A fault of a body waits for an answer of 2xx to a GET. The answer takes the script away.
   */
  script(match: RequestMatch, steps: readonly Step[]): () => void;
  /** Takes all faults and scripts away. */
  heal(): void;
  /** Answers a path of its own, before anything else. */
  serve(path: string, answer: (request: Exchange) => Answer | Promise<Answer>): void;
  /** Stops listening and drops every connection. The port stays its own in the url. */
  stop(): Promise<void>;
  /** Listens again on the same port. */
  start(): Promise<void>;
}

/** What every fake host can be given. */
export interface FakeHostOptions {
  /** Speaks TLS. With `clientCa`, only to clients with a certificate of that authority. PEM. */
  tls?: { key: string; cert: string; clientCa?: string };
  /** The loopback address to listen on; 127.0.0.2 makes another host of it. Default 127.0.0.1. */
  address?: string;
}

const longestBody = 1024 * 1024;

/** Starts a server that answers everything with `answer`. */
export async function startFakeHost(
  options: FakeHostOptions,
  answer: (request: Exchange) => Answer | Promise<Answer>,
): Promise<FakeHost> {
  const { address = '127.0.0.1', tls } = options;
  const faults = createFaults();
  const served = new Map<string, typeof answer>();
  // TLS hides the TCP connection, which a reset needs: it is found again by its port.
  const sockets = new Map<number | undefined, Socket>();
  let requests: LoggedRequest[] = [];
  let accepted = 0;
  let underWay = 0;
  let port = 0;
  let server: Server | undefined;

  async function handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(message.url ?? '/', 'http://fake.invalid');
    const request: LoggedRequest = {
      method: message.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      headers: message.headers,
      body: '',
      status: undefined,
      sentBytes: 0,
      aborted: false,
    };
    requests.push(request);
    underWay++;
    const left = new AbortController();
    response.once('close', () => {
      underWay--;
      request.aborted = !response.writableFinished;
      left.abort(new Error('the client left'));
    });
    request.body = await readBody(message);
    const socket = sockets.get(message.socket.remotePort) ?? message.socket;
    const outgoing = { request, response, socket, signal: left.signal, log: request };
    await send(outgoing, faults, async () => await (served.get(request.path) ?? answer)(request));
  }

  function listener(message: IncomingMessage, response: ServerResponse): void {
    handle(message, response).catch((error: unknown) => {
      // A client that left needs no answer; anything else is a mistake in the test, and must be seen there.
      if (response.closed || response.destroyed) return;
      if (response.headersSent) return void response.destroy();
      response.writeHead(599, { 'content-type': 'text/plain' });
      response.end(`fake host: ${error instanceof Error ? error.stack : error}\n`);
    });
  }

  async function start(): Promise<void> {
    if (server) return;
    const started = tls
      ? createTlsServer(
          { key: tls.key, cert: tls.cert, ca: tls.clientCa, requestCert: tls.clientCa !== undefined },
          listener,
        )
      : createServer(listener);
    started.on('connection', (socket: Socket) => {
      accepted++;
      const key = socket.remotePort;
      sockets.set(key, socket);
      socket.on('error', () => undefined);
      socket.once('close', () => sockets.get(key) === socket && sockets.delete(key));
    });
    await new Promise<void>((resolve, reject) => {
      started.once('error', reject);
      started.listen(port, address, () => {
        started.off('error', reject);
        resolve();
      });
    });
    port = (started.address() as AddressInfo).port;
    server = started;
  }

  async function stop(): Promise<void> {
    const stopping = server;
    server = undefined;
    if (!stopping) return;
    const closed = new Promise<void>((resolve) => stopping.close(() => resolve()));
    for (const socket of sockets.values()) socket.destroy();
    await closed;
  }

  await start();
  const host = `${address.includes(':') ? `[${address}]` : address}:${port}`;
  return {
    url: `${tls ? 'https' : 'http'}://${host}`,
    host,
    get requests() {
      return requests;
    },
    count: (match = {}) => requests.filter((request) => matches(match, request)).length,
    sentBytes: (match = {}) =>
      requests.reduce((sum, request) => sum + (matches(match, request) ? request.sentBytes : 0), 0),
    underWay: () => underWay,
    connections: () => ({ open: sockets.size, accepted }),
    clear() {
      requests = [];
    },
    on: faults.on,
    script: faults.script,
    heal: faults.clear,
    serve: (path, own) => void served.set(path, own),
    start,
    stop,
  };
}

async function readBody(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of message) {
    length += chunk.length;
    if (length <= longestBody) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
