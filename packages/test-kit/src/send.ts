import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { type Answer, bodyBytes, type Exchange } from './answer.ts';
import { type Faults, faultAnswer } from './fault.ts';

/** One request to answer: `socket` is the TCP connection below any TLS, `signal` fires when the client has gone. */
export interface Outgoing {
  request: Exchange;
  response: ServerResponse;
  socket: Socket;
  signal: AbortSignal;
  /** Told the status when the headers go out, and the bytes of the body as they do. */
  log: { status: number | undefined; sentBytes: number };
}

const largestChunk = 64 * 1024;

/** Sends what `answer` gives, or what the faults make of it. Rejects with the signal's reason when the client leaves. */
export async function send(outgoing: Outgoing, faults: Faults, answer: () => Promise<Answer>): Promise<void> {
  const { request, signal } = outgoing;
  await faults.take(request, 'gate')?.gate.pass(signal);
  const instead = faults.take(request, 'hang', 'drop', 'redirect', 'status');
  if (instead && 'hang' in instead) return await gone(signal);
  if (instead && 'drop' in instead) return close(outgoing, instead.drop);
  const given = instead ? faultAnswer(instead, request) : await answer();
  const mayFail = given.status >= 200 && given.status < 300 && request.method !== 'HEAD';
  const cut = mayFail ? faults.take(request, 'truncateTo') : undefined;
  const real = cut ? { ...given, body: bodyBytes(given).subarray(0, cut.truncateTo) } : given;
  if (!instead && real.status < 400) faults.answered(request);
  writeHead(outgoing, real);
  if (request.method === 'HEAD' || real.status === 304) return void outgoing.response.end();
  await writeBody(outgoing, faults, real);
}

function writeHead({ request, response, log }: Outgoing, answer: Answer): void {
  const headers: Record<string, string> = { ...answer.headers };
  if (answer.status !== 304 && !answer.chunked) headers['content-length'] ??= String(bodyBytes(answer).byteLength);
  if (answer.chunked && request.method !== 'HEAD') headers['transfer-encoding'] = 'chunked';
  log.status = answer.status;
  response.writeHead(answer.status, headers);
}

async function writeBody(outgoing: Outgoing, faults: Faults, answer: Answer): Promise<void> {
  const { request, response, signal, log } = outgoing;
  const mayFail = answer.status >= 200 && answer.status < 300;
  const corrupt = mayFail ? faults.take(request, 'corruptAt') : undefined;
  const cut = mayFail ? faults.take(request, 'cutAfter') : undefined;
  const stall = mayFail ? faults.take(request, 'stallAfter') : undefined;
  const throttle = mayFail ? faults.take(request, 'throttle')?.throttle : undefined;
  const slow = mayFail ? faults.take(request, 'slow')?.slow : undefined;

  const body = corrupt ? flip(bodyBytes(answer), corrupt.corruptAt) : bodyBytes(answer);
  const end = Math.min(body.byteLength, cut?.cutAfter ?? body.byteLength, stall?.stallAfter ?? body.byteLength);
  if (cut || stall || throttle || slow) response.flushHeaders();
  const chunkBytes = throttle?.chunkBytes ?? slow?.chunkBytes ?? largestChunk;
  for (let from = 0; from < end; from += chunkBytes) {
    await throttle?.pass(signal);
    if (slow) await pause(slow.everyMs, signal);
    const chunk = body.subarray(from, Math.min(from + chunkBytes, end));
    await write(response, chunk, signal);
    log.sentBytes += chunk.byteLength;
  }
  if (stall && stall.stallAfter === end) await gone(signal);
  else if (cut && end === cut.cutAfter) close(outgoing, cut.how);
  else response.end();
}

function flip(bytes: Uint8Array, position: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  if (position >= copy.byteLength) throw new Error(`corruptAt ${position}: the body ends at ${copy.byteLength}`);
  copy[position] = (copy[position] ?? 0) ^ 0xff;
  return copy;
}

/** Resolves once the kernel has the chunk, so that nothing is left to lose when the connection is cut after it. */
function write(response: ServerResponse, chunk: Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) return leave();
    signal.addEventListener('abort', leave, { once: true });
    response.write(chunk, (error) => {
      signal.removeEventListener('abort', leave);
      if (error) reject(error);
      else resolve();
    });
  });
}

function close({ response, socket }: Outgoing, how: 'fin' | 'rst'): void {
  if (how === 'rst') socket.resetAndDestroy();
  else response.socket?.end(() => socket.destroy());
}

// `slow` is about real time: who waits at the other end may have no clock that a test moves.
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return setTimeout(ms, undefined, { signal });
}

function gone(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
