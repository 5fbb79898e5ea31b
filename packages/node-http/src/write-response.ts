import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Bytes, HttpResponse } from '@proxycache/core';
import { hasClientLeft } from './client-left.ts';
import { cutOffStalled } from './stalled-client.ts';
import { hasLongUnreadBody, linger } from './unread-body.ts';
import { closeSource, writeBytes } from './write-bytes.ts';

/**
 * Writes a response; done when its last byte has been handed over or the client has left. A body is iterated, or closed
 * unread (on HEAD, where the client has left, where the host has answered meanwhile). Head and small bodies go in one
 * write.
 *
 * @param stalled what becomes of a client that accepts nothing of it; see {@link cutOffStalled}. Default: it is waited for
 * @throws what the body throws, or that it is not as long as its Content-Length; `res.headersSent` says how far it got
 */
export async function writeResponse(
  req: IncomingMessage,
  res: ServerResponse,
  response: HttpResponse,
  stalled?: Parameters<typeof cutOffStalled>[2],
): Promise<void> {
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
    if (closing) res.write(body);
    else res.end(body);
    if (stalled && res.writableLength > 0) cutOffStalled(req, res, stalled);
    if (!closing) return;
  } else {
    if (stalled) cutOffStalled(req, res, stalled);
    if (!(await writeBytes({ req, res, writeHead, expected }, body))) return;
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
