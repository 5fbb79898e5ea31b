import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Answers `/healthz` (the process runs) and `/readyz` (it takes requests). Neither depends on upstreams: what is stored
 * is served without them, and restarting or unplugging a cache whose upstream is down makes that outage everybody's.
 *
 * @returns whether the request was for one of them
 */
export function answerHealth(req: IncomingMessage, res: ServerResponse, isReady: boolean): boolean {
  const path = pathOf(req.url ?? '');
  if (path !== '/healthz' && path !== '/readyz') return false;
  if (req.method !== 'GET' && req.method !== 'HEAD') {
    send(res, 405, 'only GET and HEAD\n');
  } else if (path === '/readyz' && !isReady) {
    send(res, 503, 'stopping\n');
  } else {
    send(res, 200, path === '/readyz' ? 'ready\n' : 'ok\n');
  }
  return true;
}

function pathOf(url: string): string {
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}

function send(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 && { allow: 'GET, HEAD' }),
  });
  // Node leaves the body out of an answer to HEAD.
  res.end(text);
}
