import { type Coordinator, ProxyCacheError } from '@proxycache/core';
import { createCalls } from './calls.ts';
import { connectRedis, messagesBy } from './connect-redis.ts';
import { within } from './deadline.ts';
import { createLeases } from './leases.ts';
import { createMessages } from './messages.ts';
import type { Redis } from './redis.ts';
import { type RedisOptions, type RedisSettings, readRedisOptions } from './settings.ts';

/** A coordinator of the processes that share a Redis. */
export interface RedisCoordinator extends Coordinator {
  /** Gives back its leases and ends its connections. */
  close(): Promise<void>;
}

/**
 * A coordinator for all processes with the same Redis and `prefix`. A lease is renewed while it is held, and is lost
 * (`lost` fires) when it could not be renewed in time: before Redis gives it to another, as long as Redis forgets nothing.
 * After a failover, or a loss of data, two may believe that they hold it until the next renewal, a third of `for` at most;
 * their tokens tell them apart. Tokens rise with every lease of a key, for fencing, as far as the servers' clocks agree. A
 * lease that may have been taken although the answer did not come, or that could not be given back, is given back as soon
 * as Redis can be told; `acquire` of the same coordinator takes it over before that. Messages reach who listens at that
 * moment; those that come while a connection is made anew are lost, so whoever waits for one looks again from time to
 * time. Calls fail as those of {@link redisMetadata} do, by the same deadline. It has two connections of its own, the
 * second for messages.
 *
 * @throws ProxyCacheError `invalid-options`, also for a `client`: listening takes a connection of its own
 */
export function redisCoordinator(options: Omit<RedisOptions, 'client'>): RedisCoordinator {
  const settings = readRedisOptions(options);
  const by = messagesBy(settings);
  const redis = connectRedis(settings);
  return coordinatorOver(redis, { settings, by, end: () => redis.close() });
}

/** A coordinator that sends its commands by a connection that is there. `by`: how it listens; `end`: what else ends with it. */
export function coordinatorOver(
  redis: Redis,
  { settings, by, end }: { settings: RedisSettings; by: ReturnType<typeof messagesBy>; end(): Promise<void> },
): RedisCoordinator {
  const { prefix, clock, server, tell } = settings;
  const { answerWithinMs } = server;
  const messages = createMessages({ ...by, clock, answerWithinMs, tell });
  const calls = createCalls(clock, answerWithinMs);
  const leases = createLeases({ redis, clock, prefix });
  // Redis keeps the keys of databases apart, not their channels.
  const channelName = (channel: string) => `${prefix}::!channel/${server.database}/${channel}`;

  /** Both connections may hang: whoever publishes waits for half of the deadline for one, and once at most for all. */
  async function publish(name: string, message: string): Promise<void> {
    const deadline = (ms: number) => {
      const late = () => new ProxyCacheError('storage-failed', `Redis did not take a message within ${ms} ms`);
      return { clock, ms, signal: undefined, late };
    };
    await within(deadline(answerWithinMs), async () => {
      // What this process subscribed to before reaches it.
      await within(deadline(answerWithinMs / 2), () => messages.settled()).catch(() => undefined);
      await redis.send(name, ['PUBLISH', name, message], {});
    });
  }

  async function giveUpAll(): Promise<void> {
    await calls.end();
    await leases.close();
    await Promise.all([messages.close(), end()]);
  }
  let closing: Promise<void> | undefined;

  return {
    acquire: (key, given) => calls.run(() => leases.acquire(key, given)),
    holder: (key) => calls.run(() => leases.holder(key)),
    publish: (channel, message) => calls.run(() => publish(channelName(channel), message)),
    subscribe: (channel, fn) => messages.subscribe(channelName(channel), fn),
    close() {
      closing ??= giveUpAll();
      return closing;
    },
  };
}
