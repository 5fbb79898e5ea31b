import { request as ask, type IncomingMessage, type ServerResponse } from 'node:http';
import { Transform } from 'node:stream';
import { type LoopbackServer, startLoopbackServer } from '../peers/loopback-server.ts';

/** What becomes of a request on its way to S3. */
export type S3Fault =
  /** It is answered so, and S3 is not asked. */
  | { kind: 'answer'; status: number; code: string }
  /** It is answered with this document, and S3 is not asked. */
  | { kind: 'document'; xml: string }
  /** Its connection is reset before S3 is asked. */
  | { kind: 'reset' }
  /** S3 is asked, and its answer comes later by so much. */
  | { kind: 'late'; ms: number }
  /** Nothing answers. */
  | { kind: 'silence' }
  /** S3 gets one other byte. */
  | { kind: 'other-byte' }
  /** The answer breaks off after so many bytes of its body. */
  | { kind: 'cut'; after: number }
  /** The answer stands still after so many bytes of its body. */
  | { kind: 'stall'; after: number }
  /** S3 is asked, and its answer is lost. */
  | { kind: 'lost-answer' };

/** A request as S3 saw it. */
export interface SeenRequest {
  method: string;
  /** With the query, without `x-id`. */
  path: string;
  headers: IncomingMessage['headers'];
}

/** Stands between a store and an S3 server. Requests are signed for it: S3 trusts the `Host` they name. */
export interface FaultProxy {
  readonly endpoint: string;
  /** All requests so far. */
  readonly requests: SeenRequest[];
  /** Connections that are open. */
  connections(): Promise<number>;
  /** What becomes of requests from now on. Default: nothing. */
  faultOf: (request: SeenRequest) => S3Fault | undefined;
  close(): Promise<void>;
}

/** Starts one. */
export async function startFaultProxy(target: { port: number }): Promise<FaultProxy> {
  const server: LoopbackServer = await startLoopbackServer((request, response) => {
    const seen = {
      method: request.method ?? '',
      path: (request.url ?? '').replace(/[?&]x-id=\w+/, ''),
      headers: request.headers,
    };
    proxy.requests.push(seen);
    play(proxy.faultOf(seen), { request, response, port: target.port });
  });
  const proxy: FaultProxy = {
    endpoint: server.url,
    requests: [],
    connections: () => new Promise((resolve) => server.server.getConnections((_, count) => resolve(count))),
    faultOf: () => undefined,
    close: () => server.stop(),
  };
  return proxy;
}

type Exchange = { request: IncomingMessage; response: ServerResponse; port: number };

function play(fault: S3Fault | undefined, { request, response, port }: Exchange): void {
  if (fault?.kind === 'silence') return;
  if (fault?.kind === 'reset') return void request.socket.resetAndDestroy();
  if (fault?.kind === 'answer') {
    const { status, code } = fault;
    request.resume();
    response.writeHead(status, { 'content-type': 'application/xml' });
    response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>made up</Message></Error>`);
    return;
  }
  if (fault?.kind === 'document') {
    request.resume();
    response.writeHead(200, { 'content-type': 'application/xml' });
    response.end(fault.xml);
    return;
  }
  const { method, url, rawHeaders } = request;
  const upstream = ask({ port, host: '127.0.0.1', method, path: url, headers: rawHeaders }, (answer) => {
    if (fault?.kind === 'lost-answer') {
      answer.resume();
      answer.once('end', () => response.destroy());
      return;
    }
    if (fault?.kind === 'late') {
      setTimeout(() => answer.pipe(response.writeHead(answer.statusCode ?? 500, answer.rawHeaders)), fault.ms);
      return;
    }
    response.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
    if (fault?.kind === 'cut' || fault?.kind === 'stall') {
      response.flushHeaders();
      answer.pipe(upTo(fault.after, fault.kind === 'cut' ? () => response.destroy() : () => undefined)).pipe(response);
    } else {
      answer.pipe(response);
    }
  });
  const end = () => upstream.destroy();
  upstream.on('error', () => response.destroy());
  response.once('close', end);
  const way = fault?.kind === 'other-byte' ? request.pipe(withOtherByte()) : request;
  way.pipe(upstream);
}

/** Lets so many bytes pass, and calls `then`; nothing comes after that. */
function upTo(bytes: number, then: () => void): Transform {
  let left = bytes;
  let isOver = false;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      const passed = chunk.subarray(0, left);
      left -= passed.byteLength;
      this.push(passed);
      done();
      if (left > 0 || isOver) return;
      isOver = true;
      // Once it has been sent.
      setTimeout(then, 20);
    },
    // A reader that is told of the end would not wait.
    flush() {},
  });
}

function withOtherByte(): Transform {
  let done = false;
  return new Transform({
    transform(chunk: Buffer, _, callback) {
      const copy = Buffer.from(chunk);
      if (!done && copy.byteLength > 0) {
        copy[0] = (copy[0] ?? 0) ^ 1;
        done = true;
      }
      callback(null, copy);
    },
  });
}
