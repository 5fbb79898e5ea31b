import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Duration, ProxyCacheError, parseDuration } from '@proxycache/core';
import { reset } from './reset.ts';

const defaultStalledFor: Duration = '5m';

// Node's timers take no more.
const longestTimer = 2 ** 31 - 1;

/**
 * How long, in ms, a client may accept nothing of an answer that waits for it. Default 5 min; `Infinity`: no limit.
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

/**
 * Cuts a client off that has accepted no byte for so long of what is written to it: a transfer, a file and memory wait
 * for it. A client that takes little, but something, is let be; so is one that waits for us.
 *
 * @param limit.tell told why, before the connection is reset
 */
export function cutOffStalled(
  req: IncomingMessage,
  res: ServerResponse,
  limit: { ms: number; tell(error: Error): void },
): void {
  // A shorter limit of the host's own covers it.
  const { timeout: ofHost = 0 } = res.socket ?? {};
  if (limit.ms === Number.POSITIVE_INFINITY || (ofHost > 0 && ofHost <= limit.ms)) return;
  // Node's timer looks at the kernel's side of a write that is under way, too. It is set anew for the next request.
  res.setTimeout(Math.min(limit.ms, longestTimer), () => {
    if (res.writableLength === 0) return;
    const message = `the client accepted nothing for ${limit.ms / 1000} s; its connection is cut off (stalledFor)`;
    limit.tell(new ProxyCacheError('aborted', message));
    reset(req, res);
  });
}
