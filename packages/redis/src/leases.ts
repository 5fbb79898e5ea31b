import { type Clock, type Lease, ProxyCacheError } from '@proxycache/core';
import type { Redis } from './redis.ts';
import { runScript, script } from './scripts.ts';

/** What leases are made with. */
export interface LeasesOptions {
  redis: Redis;
  clock: Clock;
  prefix: string;
}

/** Leases in Redis. */
export interface Leases {
  acquire(key: string, options: { for: number; value?: string; signal: AbortSignal }): Promise<Lease | undefined>;
  holder(key: string): Promise<string | undefined>;
  /** Gives back all that are held; their holders are told that they are lost. */
  close(): Promise<void>;
}

/** How often a lease is renewed within the time it outlives its holder. */
const renewals = 3;

/** How long the last token of a key is remembered; then the time of the server is higher, whatever its clock does. */
const tokenForMs = 86_400_000;

// KEYS lease, token; ARGV ms, value, ms for the token. Gives the token as text: a number would lose its last digits.
const acquireScript = script(`
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local time = redis.call('TIME')
local token = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if token <= last then token = last + 1 end
local text = string.format('%.0f', token)
redis.call('SET', KEYS[2], text, 'PX', ARGV[3])
redis.call('SET', KEYS[1], text .. '\\n' .. ARGV[2], 'PX', ARGV[1])
return text
`);

// KEYS lease, token; ARGV what the lease holds, ms, token. One that ended and that nobody took since goes on.
const renewScript = script(`
local text = redis.call('GET', KEYS[1])
if text ~= ARGV[1] and (text or redis.call('GET', KEYS[2]) ~= ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

// KEYS lease; ARGV what the lease holds.
const releaseScript = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`);

/** Tokens are the server's time in microseconds, and higher than the last one of their key. */
export function createLeases({ redis, clock, prefix }: LeasesOptions): Leases {
  const held = new Set<{ end(reason: unknown): Promise<void> }>();

  /** The lease and its last token, in one slot of a cluster. */
  const keysOf = (key: string) => {
    const tag = `${prefix}::{!lease/${encodeURIComponent(key)}}`;
    return [`${tag}holder`, `${tag}token`] as const;
  };

  async function acquire(
    key: string,
    { for: ms, value = '', signal }: { for: number; value?: string; signal: AbortSignal },
  ): Promise<Lease | undefined> {
    signal.throwIfAborted();
    if (!(ms >= 1)) throw new ProxyCacheError('invalid-options', `a lease must be for at least 1 ms, received ${ms}`);
    const keys = keysOf(key);
    const since = clock.monotonic();
    const args = [String(Math.ceil(ms)), value, String(tokenForMs)];
    // Not given up half-way: whoever left would hold a lease without knowing.
    const token = await runScript(redis, { ...acquireScript, keys, args }, {});
    if (typeof token !== 'string') return undefined;
    const lease = hold({ keys, text: `${token}\n${value}`, token, ms, since });
    if (signal.aborted) {
      await lease.release();
      throw signal.reason;
    }
    return lease;
  }

  function hold(taken: { keys: readonly string[]; text: string; token: string; ms: number; since: number }): Lease {
    const { keys, text, token, ms } = taken;
    const lost = new AbortController();
    let until = taken.since + ms;
    let over = false;
    let cancelRenewal = (): void => undefined;
    let cancelEnd = (): void => undefined;

    const finish = () => {
      over = true;
      cancelRenewal();
      cancelEnd();
      held.delete(mine);
    };
    const lose = (reason: unknown) => {
      if (over) return;
      finish();
      lost.abort(reason);
      // A renewal that Redis answered too late would keep the others waiting.
      void giveBack();
    };
    const lostError = (why: string) => new ProxyCacheError('storage-failed', `the lease was lost: ${why}`);

    /** Whatever Redis does: from then on another may have it. */
    const watchEnd = () => {
      cancelEnd();
      const left = until - clock.monotonic();
      cancelEnd = clock.after(Math.max(left, 0), () => lose(lostError('it could not be renewed in time')));
    };

    const renewLater = () => {
      cancelRenewal = clock.after(ms / renewals, () => void renew());
    };

    async function renew(): Promise<void> {
      const since = clock.monotonic();
      if (since >= until) return lose(lostError('it could not be renewed in time'));
      try {
        const args = [text, String(Math.ceil(ms)), token];
        const renewed = await runScript(redis, { ...renewScript, keys, args }, {});
        if (over) return;
        if (renewed !== 1) return lose(lostError('another has it'));
        until = since + ms;
        watchEnd();
      } catch {
        // Redis is away. It may be back before the lease ends.
      }
      if (!over) renewLater();
    }

    async function giveBack(): Promise<void> {
      // Where Redis cannot be told, the lease ends by itself.
      await runScript(redis, { ...releaseScript, keys: keys.slice(0, 1), args: [text] }, {}).catch(() => undefined);
    }

    const mine = {
      async end(reason: unknown) {
        lose(reason);
        await giveBack();
      },
    };
    held.add(mine);
    watchEnd();
    renewLater();
    return {
      token: Number(token),
      lost: lost.signal,
      async release() {
        if (over) return;
        finish();
        await giveBack();
      },
    };
  }

  return {
    acquire,
    async holder(key) {
      const [name] = keysOf(key);
      const text = await redis.send(name, ['GET', name], {});
      return typeof text === 'string' ? text.slice(text.indexOf('\n') + 1) : undefined;
    },
    async close() {
      const reason = new ProxyCacheError('closed', 'the coordinator was closed');
      await Promise.all([...held].map((one) => one.end(reason)));
    },
  };
}
