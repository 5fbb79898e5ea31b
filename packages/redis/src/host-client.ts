import { type Clock, ProxyCacheError } from '@proxycache/core';
import { within } from './deadline.ts';
import { hashSlot } from './hash-slot.ts';
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

const lookAgainMs = 250;

/**
 * A client that is the host's: it says how it connects, and it ends it. Only the deadline is ours; a command that was
 * given up waits on in the client. What took too long is asked no more but whether it has caught up: the client, or of a
 * cluster the slot.
 */
export function useHostClient(
  client: HostClient,
  { clock, answerWithinMs }: { clock: Clock; answerWithinMs: number },
): Redis {
  const isCluster = 'slots' in client;
  const isSentinel = 'getSentinelNode' in client;
  const server = "the host's client";
  const send: Send = (client.sendCommand as unknown as Send).bind(client);
  const slow = new Map<number, ProxyCacheError>();
  let closed = false;

  const partOf = (key: string) => (isCluster ? hashSlot(key) : 0);

  function fallBehind(key: string, error: ProxyCacheError): void {
    const part = partOf(key);
    if (slow.has(part)) return;
    slow.set(part, error);
    const look = async (): Promise<void> => {
      const since = clock.monotonic();
      // One at a time, however long it takes: each would wait in the client.
      const isAnswered = await start(key, ['PING']).then(
        () => true,
        () => false,
      );
      const isBack = isAnswered && clock.monotonic() - since <= answerWithinMs;
      if (isBack || closed) slow.delete(part);
      else clock.after(lookAgainMs, () => void look());
    };
    void look();
  }

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
      const known = slow.get(partOf(key));
      if (known !== undefined) throw known;
      const late = () => {
        const error = new ProxyCacheError('storage-failed', message);
        fallBehind(key, error);
        return error;
      };
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
