import { randomBytes } from 'node:crypto';
import { checkMetadataKey, type MetadataEntry, type MetadataStore, prefixSegments } from '@proxycache/core';
import { createCalls } from './calls.ts';
import { connectRedis, messagesBy } from './connect-redis.ts';
import { withManyWaiting } from './deadline.ts';
import { keyLayout, shardOf, toMember } from './key-layout.ts';
import { listKeys } from './list-keys.ts';
import { parseRecordText } from './record-text.ts';
import type { RedisCall } from './redis.ts';
import { coordinatorOver, type RedisCoordinator } from './redis-coordinator.ts';
import { deleteScript, runScript, setScript } from './scripts.ts';
import { type RedisOptions, readRedisOptions } from './settings.ts';

/** Metadata in Redis. */
export interface RedisMetadata extends MetadataStore {
  /**
   * A coordinator like those of {@link redisCoordinator}, over the same connection: whoever waited in vain for a record does
   * not wait for a lease as well. Only listening takes another one. It is closed with the metadata, or before.
   *
   * @throws ProxyCacheError `invalid-options` where the metadata are in a `client` of the host's
   */
  coordinator(): RedisCoordinator;
  /** Ends the connections that were made for it, after what is under way. A client of the host's own stays open. */
  close(): Promise<void>;
}

/** How much longer than it is valid a record stays in Redis, whose own expiry is only garbage collection. */
const graceMs = 3_600_000;

/** The same for a record with a fence, and how long that is kept of one that was deleted: longer than any holder of a lease stands still. */
const fenceForMs = 86_400_000;

/** Keys asked for in one command. */
const batch = 500;

/**
 * A metadata store in Redis 5 or newer, that any number of processes may share: conditions (`ifVersion`, `fence`) and
 * listings hold across them, since a record and its place in the index change in one step. It connects at once, and
 * again whenever the connection ends. While Redis is away calls fail within milliseconds, and none takes longer than
 * `answerWithin` for each question to Redis: a write whose answer did not come may have happened.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function redisMetadata(options: RedisOptions): RedisMetadata {
  const settings = readRedisOptions(options);
  const { prefix, clock } = settings;
  const redis = connectRedis(settings);
  const layout = keyLayout(prefix);
  const calls = createCalls(clock, settings.server.answerWithinMs);
  const writer = randomBytes(6).toString('base64url');
  const coordinators: RedisCoordinator[] = [];
  let writes = 0;

  function entryOf(key: string, text: unknown): MetadataEntry | undefined {
    if (typeof text !== 'string') return undefined;
    const { value, version, expiresAt } = parseRecordText(key, text);
    return clock.now() < expiresAt ? { value, version } : undefined;
  }

  const read = (key: string, signal: AbortSignal) =>
    redis.send(layout.record(key), ['GET', layout.record(key)], { signal });

  /** Keys that one command may ask for. */
  function batches(keys: readonly string[]): string[][] {
    const groups = new Map<number, string[]>();
    for (const key of new Set(keys)) {
      const shard = redis.isCluster ? shardOf(key) : 0;
      const group = groups.get(shard);
      if (group === undefined) groups.set(shard, [key]);
      else group.push(key);
    }
    return [...groups.values()].flatMap((group) =>
      Array.from({ length: Math.ceil(group.length / batch) }, (_, at) => group.slice(at * batch, (at + 1) * batch)),
    );
  }

  const store: MetadataStore = {
    async get(key, { signal }) {
      checkMetadataKey(key);
      return entryOf(key, await read(key, signal));
    },

    async getMany(keys, { signal }) {
      signal.throwIfAborted();
      for (const key of keys) checkMetadataKey(key);
      const texts = new Map<string, unknown>();
      const readGroup = async (group: readonly string[], call: RedisCall) => {
        const records = group.map(layout.record);
        const found = (await redis.send(records[0] ?? '', ['MGET', ...records], call)) as unknown[];
        for (const [at, key] of group.entries()) texts.set(key, found[at]);
      };
      await withManyWaiting(signal, (own) =>
        Promise.all(batches(keys).map((group) => readGroup(group, { signal: own }))),
      );
      return keys.map((key) => entryOf(key, texts.get(key)));
    },

    async set(key, value, { ifVersion = '', expiresAt = Number.POSITIVE_INFINITY, fence, signal }) {
      checkMetadataKey(key);
      const now = clock.now();
      const version = `${writer}.${(writes++).toString(36)}`;
      const lasts = Number.isFinite(expiresAt);
      const until = lasts ? String(expiresAt) : '-';
      const left = Math.ceil(Math.max(expiresAt - now, 0));
      const ttls = [graceMs, fenceForMs].map((more) => (lasts ? String(left + more) : ''));
      const args = [toMember(key), String(now), ifVersion, String(fence ?? '-'), version, until, ...ttls, value];
      const keys = [layout.record(key), layout.index(shardOf(key))];
      const outcome = await runScript(redis, { ...setScript, keys, args }, { signal });
      // Reading it says what is wrong with it; by then it may be mended.
      if (outcome === -1) entryOf(key, await read(key, signal));
      return outcome === 1;
    },

    async delete(key, { ifVersion = '', signal }) {
      checkMetadataKey(key);
      const keys = [layout.record(key), layout.index(shardOf(key))];
      const args = [toMember(key), String(clock.now()), ifVersion, String(fenceForMs)];
      return (await runScript(redis, { ...deleteScript, keys, args }, { signal })) === 1;
    },

    async list(prefixOfKeys, { after, limit, signal }) {
      prefixSegments(prefixOfKeys);
      return await withManyWaiting(signal, (own) =>
        listKeys(redis, layout, prefixOfKeys, { after, limit, now: clock.now(), signal: own }),
      );
    },
  };

  return {
    get: (...args) => calls.run(() => store.get(...args)),
    getMany: (...args) => calls.run(() => store.getMany(...args)),
    set: (...args) => calls.run(() => store.set(...args)),
    delete: (...args) => calls.run(() => store.delete(...args)),
    list: (...args) => calls.run(() => store.list(...args)),
    coordinator() {
      const made = coordinatorOver(redis, { settings, by: messagesBy(settings), end: async () => undefined });
      coordinators.push(made);
      return made;
    },
    async close() {
      await calls.end();
      await Promise.all(coordinators.map((coordinator) => coordinator.close()));
      await redis.close();
    },
  };
}
