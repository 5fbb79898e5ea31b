import http from 'node:http';

/** Hands each request to the next of some servers, and to the one after where that is not there. */
export function createBalancer(ports: readonly number[]): http.Server {
  // Connections are kept, as load balancers do.
  const agent = new http.Agent({ keepAlive: true });
  let turns = 0;

  function pass(req: http.IncomingMessage, res: http.ServerResponse, { first, left }: { first: number; left: number }) {
    const { method, url: path, headers } = req;
    const onward = http.request({ agent, host: '127.0.0.1', port: ports[first % ports.length], method, path, headers });
    onward.once('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(res);
      // Half an answer must not look like a whole one.
      answer.once('error', () => res.destroy());
      answer.once('aborted', () => res.destroy());
    });
    onward.once('error', () => {
      if (res.headersSent) res.destroy();
      else if (left > 1) pass(req, res, { first: first + 1, left: left - 1 });
      else res.writeHead(502).end('no server is there\n');
    });
    res.once('close', () => onward.destroy());
    // What a cache serves is asked for without a body.
    onward.end();
  }

  const server = http.createServer((req, res) => pass(req, res, { first: turns++, left: ports.length }));
  server.once('close', () => agent.destroy());
  return server;
}
