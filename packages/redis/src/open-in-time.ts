import { afterRunning, type Clock } from '@proxycache/core';
import type { OpenLink, RedisLink } from './redis.ts';

/** Connects, or rejects at the deadline, and when nobody wants the connection any more. */
export async function openInTime(
  open: OpenLink,
  { clock, ms, leaving }: { clock: Clock; ms: number; leaving: AbortSignal },
): Promise<RedisLink> {
  const controller = new AbortController();
  const leave = () => controller.abort(leaving.reason);
  leaving.addEventListener('abort', leave, { once: true });
  const stop = afterRunning(clock, ms, () => controller.abort(new Error(`not connected within ${ms} ms`)));
  try {
    return await open({ signal: controller.signal });
  } finally {
    stop();
    leaving.removeEventListener('abort', leave);
  }
}
