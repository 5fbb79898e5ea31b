import { Agent, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import { type LoopbackServer, startLoopbackServer } from './loopback-server.ts';

/** A request that passed, and how it was answered. */
export interface PassedRequest {
  method: string;
  /** The path and query as they came. */
  path: string;
  headers: IncomingMessage['headers'];
  /** 0 until it is answered. */
  status: number;
}

/** Passes requests on, byte for byte, and remembers them. */
export interface CountingProxy extends Omit<LoopbackServer, 'server'> {
  readonly requests: readonly PassedRequest[];
  /** Forgets what passed so far. */
  reset(): void;
}

/** Starts one before `target`, which is asked for its base URL anew for each request. */
export async function startCountingProxy(target: () => string): Promise<CountingProxy> {
  const requests: PassedRequest[] = [];
  const agent = new Agent({ keepAlive: true });
  const pass = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { method = '', url: path = '/', headers } = incoming;
    const passed: PassedRequest = { method, path, headers, status: 0 };
    requests.push(passed);
    const inner = forward(new URL(path, target()), { method, headers: incoming.rawHeaders, agent });
    inner.on('response', (answer) => {
      passed.status = answer.statusCode ?? 0;
      outgoing.writeHead(passed.status, answer.statusMessage, answer.rawHeaders);
      // A cut body must be seen as cut.
      answer.on('error', () => outgoing.destroy());
      answer.pipe(outgoing);
    });
    // Nobody behind us: to our client we are the registry, and a registry that is gone answers nothing.
    inner.on('error', () => outgoing.destroy());
    outgoing.on('close', () => inner.destroy());
    incoming.pipe(inner);
  };
  const server = await startLoopbackServer(pass);
  return {
    port: server.port,
    url: server.url,
    start: server.start,
    async stop() {
      await server.stop();
      agent.destroy();
    },
    requests,
    reset: () => {
      requests.length = 0;
    },
  };
}
