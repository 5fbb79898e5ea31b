import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import {
  adapterContract,
  casesOf,
  hostAnswer,
  listenOnLoopback,
  type MountAdapter,
  type SkippedCase,
} from '@proxycache/contract';
import { describe, test } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import { answerFetch } from './fetch.ts';

/** What a server does that speaks fetch, such as those that Hono and Next run on: no more. */
async function bridge(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fetch: (request: Request) => Promise<Response>,
): Promise<void> {
  const left = new AbortController();
  outgoing.on('close', () => outgoing.writableFinished || left.abort());
  const { method = 'GET', url = '/', headers, rawHeaders } = incoming;
  const pairs = rawHeaders.flatMap((name, at): [string, string][] =>
    at % 2 ? [] : [[name, rawHeaders[at + 1] ?? '']],
  );
  const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
  const request = new Request(`http://${headers.host ?? 'host'}${url}`, {
    method,
    headers: pairs.filter(([name]) => !/^(connection|transfer-encoding|expect|keep-alive|upgrade)$/i.test(name)),
    signal: left.signal,
    ...(hasBody &&
      method !== 'GET' &&
      method !== 'HEAD' && { body: Readable.toWeb(incoming) as never, duplex: 'half' }),
  });
  const response = await fetch(request);
  if (response.status === 404 && response.headers.get('content-type')?.startsWith('text/plain')) {
    outgoing.end(hostAnswer(url));
    return;
  }
  outgoing.statusCode = response.status;
  for (const [name, value] of response.headers) outgoing.setHeader(name, value);
  if (response.body === null || method === 'HEAD') {
    await response.body?.cancel();
    outgoing.end();
    return;
  }
  try {
    for await (const chunk of response.body) {
      if (!outgoing.write(chunk)) await drained(outgoing);
      if (outgoing.destroyed) return;
    }
    outgoing.end();
  } catch {
    outgoing.socket?.resetAndDestroy();
  }
}

/** Until it takes more, or never will. */
function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off('drain', done).off('close', done);
      resolve();
    };
    outgoing.once('drain', done).once('close', done);
  });
}

const mount: MountAdapter = ({ handle }, prefix) => {
  const server = createServer((incoming, outgoing) => {
    bridge(incoming, outgoing, (request) => answerFetch(request, handle, { clock: systemClock })).catch(() =>
      outgoing.destroy(),
    );
  });
  return listenOnLoopback(server, prefix);
};

const skip: readonly SkippedCase[] = [
  {
    case: 'hands over the method, the path and the query as they came, at the root and at a prefix',
    reason: 'a web request has no prefix: a host mounts fetch where it likes',
  },
  {
    case: 'hands over the path of a target in absolute form, at the root and at a prefix',
    reason: 'a web request has a URL, not a target: a host makes it of what came',
  },
  {
    case: 'does not ask the cache about paths beside its prefix',
    reason: 'a web request has no prefix: a host mounts fetch where it likes',
  },
  {
    case: 'answers 500 with an OCI error when the cache rejects',
    reason: 'what a server makes of a failure is its own: fetch rejects, or its body fails',
  },
  {
    case: 'answers 500 when a body fails before its first byte, with nothing of the answer it belonged to',
    reason: 'what a server makes of a failure is its own: fetch rejects, or its body fails',
  },
  {
    case: 'answers 500 when a header cannot be sent',
    reason: 'what a server makes of a failure is its own: fetch rejects, or its body fails',
  },
  {
    case: 'serves the next request after one that failed',
    reason: 'what a server makes of a failure is its own: fetch rejects, or its body fails',
  },
  {
    case: 'answers with the status, the headers and the bytes that the cache gave',
    reason: 'a Response has no length of its own: the server counts, or does not',
  },
  {
    case: 'answers 500 when a body is not as long as its Content-Length before its first byte',
    reason: 'a Response has no length of its own: the server counts, or does not',
  },
  {
    case: 'resets the connection when a body ends before its Content-Length',
    reason: 'a Response has no length of its own: the server counts, or does not',
  },
  {
    case: 'resets the connection when a body goes on after its Content-Length, and closes it',
    reason: 'a Response has no length of its own: the server counts, or does not',
  },
  {
    case: 'closes the body of a pipelined request that never had its turn',
    reason: "connections are the server's own",
  },
  {
    case: 'closes a body in one piece of a pipelined request that never had its turn',
    reason: "connections are the server's own",
  },
  {
    case: 'refuses a push at once, reads little of it, and closes the connection',
    reason: "connections are the server's own",
  },
  { case: 'lets a client that is still sending have the refusal whole', reason: "connections are the server's own" },
  { case: 'sends each value of a header with several on a line of its own', reason: 'Headers join values of one name' },
];

describe('fetch keeps the adapter contract', () => {
  for (const { name, run } of casesOf(adapterContract, { skip })) test(name, () => run(mount));
});
