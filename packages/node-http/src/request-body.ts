import type { IncomingMessage } from 'node:http';
import { ProxyCacheError } from '@proxycache/core';

/** What a body parser of the host may have left behind: on the request itself, or on Koa's `ctx.request`. */
export interface ParsedBody {
  body?: unknown;
  rawBody?: unknown;
}

/**
 * The whole body of a request, from the host's body parser where that has read it.
 *
 * @throws ProxyCacheError `body-too-large` over `limit` bytes, `aborted` when the client left, `invalid-options` when a
 *   body parser has read the body and kept no bytes of it
 */
export async function readRequestBody(req: IncomingMessage, limit: number, parsed: ParsedBody): Promise<Uint8Array> {
  const bytes = req.readableDidRead ? leftBehind(parsed) : await readStream(req, limit);
  if (bytes.byteLength > limit) throw tooLarge(limit);
  return bytes;
}

function leftBehind({ rawBody, body }: ParsedBody): Uint8Array {
  for (const kept of [rawBody, body]) {
    if (kept instanceof Uint8Array) return kept;
    if (typeof kept === 'string') return Buffer.from(kept);
  }
  // Not JSON.stringify(body): other bytes have another digest.
  throw new ProxyCacheError(
    'invalid-options',
    'the request body was already read by a body parser of the host, which kept no bytes; mount the proxy cache above it',
  );
}

function readStream(req: IncomingMessage, limit: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    if (Number(req.headers['content-length']) > limit) return reject(tooLarge(limit));
    const chunks: Buffer[] = [];
    let length = 0;
    // By hand: leaving a `for await` early destroys the request and with it the connection the answer is to go by.
    const settle = (outcome: () => void) => {
      req.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      outcome();
    };
    const onData = (chunk: Buffer) => {
      length += chunk.byteLength;
      chunks.push(chunk);
      if (length <= limit) return;
      req.pause();
      settle(() => reject(tooLarge(limit)));
    };
    const onEnd = () => settle(() => resolve(Buffer.concat(chunks, length)));
    const onGone = (cause?: unknown) =>
      settle(() => reject(new ProxyCacheError('aborted', 'the client left before its request was read', { cause })));
    if (req.destroyed) return onGone();
    req.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

function tooLarge(limit: number): ProxyCacheError {
  return new ProxyCacheError('body-too-large', `the request body is longer than ${limit} bytes`);
}
