import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Duration, ProxyCacheError, parseDuration } from '@proxycache/core';
import { reset } from './reset.ts';

const defaultStalledFor: Duration = '5m';

// Node's timers take no more.
const longestTimer = 2 ** 31 - 1;

/**
 * How long, in ms, a client may accept nothing of an answer that waits for it. Default 5 min; `Infinity`: no limit. It is
 * the kernel's send buffer that is seen to accept: about 1 MB at a time, when as much of it has reached the client. One
 * that is slower than 1 MB in this time may be cut off while it reads: give it minutes.
 *
 * @throws ProxyCacheError `invalid-options` for anything but a duration of at least 1 ms
 */
export function parseStalledFor(stalledFor: Duration = defaultStalledFor): number {
  let ms = 0;
  try {
    ms = parseDuration(stalledFor);
  } catch {
    // Told below, by the option's name.
  }
  if (ms >= 1) return ms;
  const received = JSON.stringify(stalledFor);
  throw new ProxyCacheError('invalid-options', `stalledFor: expected a duration such as "5m", received ${received}`);
}

/** When a client is cut off, and who is told why before its connection is reset. */
interface StalledLimit {
  ms: number;
  tell(error: Error): void;
}

/**
 * Cuts a client off for which the kernel has accepted no byte for so long: a transfer, a file and memory wait for it. One
 * that waits for us is let be; so is one that reads, if within that time its send buffer has room again.
 */
export function cutOffStalled(req: IncomingMessage, res: ServerResponse, limit: StalledLimit): void {
  if (limit.ms === Number.POSITIVE_INFINITY) return;
  // A pipelined response gets its socket when those before it are finished, which have their own limit until then.
  if (res.socket) watch(req, res, limit);
  else res.once('socket', () => watch(req, res, limit));
}

function watch(req: IncomingMessage, res: ServerResponse, { ms, tell }: StalledLimit): void {
  // A shorter limit of the host's own covers it.
  const { timeout: ofHost = 0 } = res.socket ?? {};
  if (ofHost > 0 && ofHost <= ms) return;
  // Node's timer looks at the kernel's side of a write that is under way, too.
  res.setTimeout(Math.min(ms, longestTimer), () => {
    if (res.writableLength === 0) return;
    const message = `the client accepted nothing for ${ms / 1000} s; its connection is cut off (stalledFor)`;
    tell(new ProxyCacheError('aborted', message));
    reset(req, res);
  });
  // It is the connection's timer: without a `keepAliveTimeout`, or before a pipelined response, Node leaves it as it is.
  // Before Node's own listener, which hands the connection on.
  res.prependOnceListener('finish', () => res.setTimeout(ofHost));
}
