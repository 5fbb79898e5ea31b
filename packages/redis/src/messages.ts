import { type Clock, ProxyCacheError } from '@proxycache/core';
import { createConnection } from './connection.ts';
import type { OpenLink, Redis, RedisEvent, RedisLink } from './redis.ts';

/** Subscriptions to channels, over a connection of their own that is made with the first of them. */
export interface Messages {
  /** @returns what ends it @throws ProxyCacheError `closed` */
  subscribe(channel: string, fn: (message: string) => void): () => void;
  /** Resolves when the server has been told of all subscriptions so far, as far as there is a connection to tell it by. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** What a connection for messages is made with. */
export interface MessagesOptions {
  server: string;
  open: OpenLink;
  clock: Clock;
  answerWithinMs: number;
  tell: (event: RedisEvent) => void;
}

/** A connection that ends is made anew, with all its subscriptions; what was published meanwhile is lost. */
export function createMessages({ open, ...options }: MessagesOptions): Messages {
  const channels = new Map<string, Set<(message: string) => void>>();
  let redis: Redis | undefined;
  let link: RedisLink | undefined;
  let telling: Promise<unknown> = Promise.resolve();
  let isClosed = false;

  function deliver(channel: string, message: string): void {
    for (const fn of [...(channels.get(channel) ?? [])]) {
      try {
        fn(message);
      } catch {
        // One subscriber's failure is not the other subscribers'.
      }
    }
  }

  /** Tells the server, after what it was told before. A connection that cannot be told is replaced, and told all. */
  function tell(what: (to: RedisLink) => Promise<void>): void {
    const to = link;
    if (to === undefined) return;
    telling = telling.then(() => what(to)).catch(() => to.destroy());
  }

  async function openSubscribed(opening: { signal: AbortSignal }): Promise<RedisLink> {
    const opened = await open(opening);
    opening.signal.addEventListener('abort', opened.destroy, { once: true });
    try {
      // Set before: what is subscribed meanwhile is told to this one too.
      link = opened;
      await Promise.all([...channels.keys()].map((channel) => listenOn(opened, channel)));
      return opened;
    } catch (error) {
      opened.destroy();
      throw error;
    } finally {
      opening.signal.removeEventListener('abort', opened.destroy);
    }
  }

  const listenOn = (to: RedisLink, channel: string) => to.subscribe(channel, (message) => deliver(channel, message));

  return {
    subscribe(channel, fn) {
      if (isClosed) throw new ProxyCacheError('closed', 'the coordinator is closed');
      // Wrapped, so that the same function can be subscribed twice and ended once.
      const subscriber = (message: string) => fn(message);
      const subscribers = channels.get(channel) ?? new Set();
      const isNew = subscribers.size === 0;
      channels.set(channel, subscribers.add(subscriber));
      if (isNew) tell((to) => listenOn(to, channel));
      redis ??= createConnection({ ...options, open: openSubscribed });
      return () => {
        subscribers.delete(subscriber);
        if (subscribers.size > 0 || channels.get(channel) !== subscribers) return;
        channels.delete(channel);
        tell((to) => to.unsubscribe(channel));
      };
    },
    async settled() {
      // Answered when the connection is there, or when there is none to be had.
      if (redis !== undefined) await redis.send('', ['PING'], {}).catch(() => undefined);
      await telling;
    },
    async close() {
      isClosed = true;
      channels.clear();
      await redis?.close();
    },
  };
}
