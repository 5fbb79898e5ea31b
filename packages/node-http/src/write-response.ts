import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { type Bytes, type HttpResponse, isWhole, textOf } from '@proxycache/core';
import { hasClientLeft, onClientLeft } from './client-left.ts';
import { cutOffStalled } from './stalled-client.ts';
import { hasLongUnreadBody, linger } from './unread-body.ts';
import { closeSource, isPlain, writeBytes } from './write-bytes.ts';

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
  if (writeAtOnce(req, res, response)) {
    if (stalled && res.writableLength > 0) cutOffStalled(req, res, stalled);
    return;
  }
  const { status, body } = response;
  const closing = hasLongUnreadBody(req);
  const head = headOf(req, response);
  const writeHead = () => res.writeHead(status, closing ? { ...head, connection: 'close' } : head);

  if (isBodiless(req, status) || body === null) {
    close(body);
    writeHead();
    res.flushHeaders();
  } else if (body instanceof Uint8Array) {
    writeHead();
    res.write(body);
    if (stalled && res.writableLength > 0) cutOffStalled(req, res, stalled);
  } else {
    if (stalled) cutOffStalled(req, res, stalled);
    const expected = declaredLength(response.headers);
    if (!(await writeBytes({ req, res, writeHead, expected, mayEnd: !closing }, body))) return;
  }
  if (closing) await linger(req, res);
  if (!res.writableEnded) res.end();
}

/**
 * The same, where nothing has to be waited for: the body is here in one piece, or is not wanted. What the client has
 * not accepted yet is still to be watched ({@link cutOffStalled}).
 *
 * @returns `false`: nothing was written, {@link writeResponse} is to do it
 */
export function writeAtOnce(req: IncomingMessage, res: ServerResponse, response: HttpResponse): boolean {
  const { status, body } = response;
  if (hasClientLeft(req, res) || res.headersSent) {
    close(body);
    return true;
  }
  if (hasLongUnreadBody(req)) return false;
  const isWanted = body !== null && !isBodiless(req, status);
  // Middleware that wraps the response may keep the chunk for longer than its memory is ours.
  const whole =
    isWanted && !(body instanceof Uint8Array) && isWhole(body) && isPlain(res) ? body.takeWhole() : undefined;
  const bytes = whole?.bytes ?? body;
  if (isWanted && !(bytes instanceof Uint8Array)) return false;
  if (!isWanted) close(body);
  try {
    res.writeHead(status, headOf(req, { ...response, body: bytes }));
  } catch (error) {
    whole?.over(false);
    throw error;
  }
  if (!isWanted) res.end();
  else if (!isPlain(res)) res.end(bytes);
  else {
    if (whole) onClientLeft(req, res, () => whole.over(false));
    // Before the response has finished; of a write that a broken connection ended Node says nothing.
    endWith(res, bytes as Uint8Array, whole && ((error) => whole.over(!error && !req.socket.destroyed)));
  }
  return true;
}

/**
 * Writes the body and ends the response, in as few pieces as Node has for it: `end(bytes)` hands over the head, the body
 * and an empty string for the end. With what is corked here the last is spared, and Node appends a string to the head.
 */
function endWith(res: ServerResponse, bytes: Uint8Array, written?: (error?: Error | null) => void): void {
  const text = textOf(bytes);
  res.cork();
  if (text === undefined) res.write(bytes, written);
  else res.write(text, 'latin1', written);
  res.uncork();
  res.end();
}

function isBodiless(req: IncomingMessage, status: number): boolean {
  return req.method === 'HEAD' || status === 304 || status === 204;
}

/** The headers, with the length of a body that is here. */
function headOf(req: IncomingMessage, { status, headers, body }: HttpResponse): OutgoingHttpHeaders {
  if (isBodiless(req, status) || !(body === null || body instanceof Uint8Array)) return headers as OutgoingHttpHeaders;
  const expected = declaredLength(headers);
  const actual = body?.byteLength ?? 0;
  if (expected === undefined) return { ...headers, 'content-length': actual } as OutgoingHttpHeaders;
  if (actual !== expected) throw new Error(`a body of ${expected} bytes was declared, but it has ${actual}`);
  return headers as OutgoingHttpHeaders;
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
