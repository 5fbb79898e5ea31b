import { type Clock, ProxyCacheError } from '@proxycache/core';
import { within } from './deadline.ts';
import type { Redis } from './redis.ts';
import { redisFailure } from './redis-failure.ts';

/** What is used of a client of `createClient`, `createCluster` or `createSentinel` of `@keyv/redis` or `redis`. */
export interface HostClient {
  // Each kind has parameters of its own.
  sendCommand(...args: never[]): Promise<unknown>;
}

type Send = (...args: unknown[]) => Promise<unknown>;

// Replies as strings, whatever the host's own commands get.
const options = { typeMapping: {} };

/**
 * A client that is the host's: it says how it connects, and it ends it. Only the deadline is ours; a command that was
 * given up waits on in the client.
 */
export function useHostClient(
  client: HostClient,
  { clock, answerWithinMs }: { clock: Clock; answerWithinMs: number },
): Redis {
  const isCluster = 'slots' in client;
  const isSentinel = 'getSentinelNode' in client;
  const server = "the host's client";
  const send: Send = (client.sendCommand as unknown as Send).bind(client);
  let closed = false;

  async function start(key: string, args: readonly string[]): Promise<unknown> {
    if (isCluster) return await send(key, false, [...args], options);
    // It would keep the command for later.
    if ('isReady' in client && client.isReady === false) throw new Error('the client is not connected');
    return await (isSentinel ? send(false, [...args], options) : send([...args], options));
  }

  return {
    isCluster,
    async send(key, args, { signal }) {
      signal?.throwIfAborted();
      if (closed) throw new ProxyCacheError('closed', 'the metadata in Redis were closed');
      const command = args[0] ?? '';
      const message = `Redis (${server}) did not answer ${command} within ${answerWithinMs} ms`;
      const late = () => new ProxyCacheError('storage-failed', message);
      return await within({ clock, ms: answerWithinMs, signal, late }, () =>
        start(key, args).catch((cause) => {
          throw redisFailure(server, command, cause);
        }),
      );
    },
    async close() {
      closed = true;
    },
  };
}
