import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Bytes, HttpResponse } from '@proxycache/core';
import { hasClientLeft } from './client-left.ts';
import { hasLongUnreadBody, linger } from './unread-body.ts';
import { closeSource, writeBytes } from './write-bytes.ts';

/**
 * Writes a response; done when its last byte has been handed over or the client has left. A body is iterated, or closed
 * unread (on HEAD, where the client has left, where the host has answered meanwhile). Head and small bodies go in one
 * write.
 *
 * @throws what the body throws, or that it is not as long as its Content-Length; `res.headersSent` says how far it got
 */
export async function writeResponse(req: IncomingMessage, res: ServerResponse, response: HttpResponse): Promise<void> {
  const { status, headers, body } = response;
  if (hasClientLeft(req, res) || res.headersSent) return close(body);
  const closing = hasLongUnreadBody(req);
  const bodiless = req.method === 'HEAD' || status === 304 || status === 204;
  const expected = declaredLength(headers);
  const actual = body === null ? 0 : body instanceof Uint8Array ? body.byteLength : undefined;
  if (!bodiless && actual !== undefined && expected !== undefined && actual !== expected) {
    throw new Error(`a body of ${expected} bytes was declared, but it has ${actual}`);
  }
  const measured = expected === undefined && actual !== undefined && !bodiless;
  const added = { ...(measured && { 'content-length': actual }), ...(closing && { connection: 'close' }) };
  const head = (measured || closing ? { ...headers, ...added } : headers) as OutgoingHttpHeaders;
  const writeHead = () => res.writeHead(status, head);

  if (bodiless || body === null) {
    close(body);
    writeHead();
    if (closing) res.flushHeaders();
  } else if (body instanceof Uint8Array) {
    writeHead();
    if (!closing) return void res.end(body);
    res.write(body);
  } else if (!(await writeBytes({ req, res, writeHead, expected }, body))) {
    return;
  }
  if (closing) await linger(req, res);
  res.end();
}

function declaredLength(headers: HttpResponse['headers']): number | undefined {
  const value = headers['content-length'];
  return value === undefined ? undefined : Number(value);
}

/** Closes a body that is not wanted, without waiting: the source may take its time to stop. */
function close(body: Bytes | Uint8Array | null): void {
  if (body === null || body instanceof Uint8Array) return;
  closeSource(body[Symbol.asyncIterator]());
}
