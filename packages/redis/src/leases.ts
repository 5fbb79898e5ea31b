import { randomBytes } from 'node:crypto';
import { type Clock, type Lease, ProxyCacheError } from '@proxycache/core';
import { createAbandonedLeases } from './abandoned-leases.ts';
import type { Redis } from './redis.ts';
import { isReply } from './redis-failure.ts';
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

/** A lease as Redis gave it. */
interface TakenLease {
  /** Its name, and that of its last token. */
  keys: readonly [string, string];
  /** What it holds. */
  text: string;
  id: string;
  token: string;
  ms: number;
  since: number;
}

/** How often a lease is renewed within the time it outlives its holder. */
const renewals = 3;

/** How long the last token of a key is remembered; then the time of the server is higher, whatever its clock does. */
const tokenForMs = 86_400_000;

// KEYS lease, token; ARGV ms, value, ms for the token, id, ids that may be taken over. A lease holds `<token> <id>` and its
// value. Gives the token as text: a number would lose its last digits.
const acquireScript = script(`
local held = redis.call('GET', KEYS[1])
if held then
  local id = string.match(held, '^%S+ (%S+)\\n')
  local abandoned = false
  for i = 5, #ARGV do abandoned = abandoned or ARGV[i] == id end
  if not abandoned then return false end
end
local time = redis.call('TIME')
local token = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if token <= last then token = last + 1 end
local text = string.format('%.0f', token)
redis.call('SET', KEYS[2], text, 'PX', ARGV[3])
redis.call('SET', KEYS[1], text .. ' ' .. ARGV[4] .. '\\n' .. ARGV[2], 'PX', ARGV[1])
return text
`);

// KEYS lease, token; ARGV what the lease holds, ms, token. One that ended and that nobody took since goes on.
const renewScript = script(`
local text = redis.call('GET', KEYS[1])
if text ~= ARGV[1] and (text or redis.call('GET', KEYS[2]) ~= ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

/** Tokens are the server's time in microseconds, and higher than the last one of their key. */
export function createLeases({ redis, clock, prefix }: LeasesOptions): Leases {
  const held = new Set<{ end(reason: unknown): Promise<void> }>();
  const abandoned = createAbandonedLeases({ redis, clock });
  const owner = randomBytes(9).toString('base64url');
  let attempts = 0;

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
    const id = `${owner}.${(attempts++).toString(36)}`;
    const args = [String(Math.ceil(ms)), value, String(tokenForMs), id, ...abandoned.idsOf(keys[0])];
    let isSent = false;
    const sent = () => {
      isSent = true;
    };
    // Not given up half-way: whoever left would hold a lease without knowing.
    const token = await runScript(redis, { ...acquireScript, keys, args }, { sent }).catch((error) => {
      if (isSent && !isReply(error)) void abandoned.giveBack({ name: keys[0], id, inDoubt: true, until: since + ms });
      throw error;
    });
    if (typeof token !== 'string') return undefined;
    abandoned.takenOver(keys[0]);
    const lease = hold({ keys, text: `${token} ${id}\n${value}`, id, token, ms, since });
    if (signal.aborted) {
      await lease.release();
      throw signal.reason;
    }
    return lease;
  }

  function hold(taken: TakenLease): Lease {
    const { keys, text, id, token, ms } = taken;
    const lost = new AbortController();
    let until = taken.since + ms;
    let over = false;
    let inDoubt = false;
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
      // A renewal that Redis does late would keep the others waiting.
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
      const sent = () => {
        inDoubt = true;
      };
      try {
        const args = [text, String(Math.ceil(ms)), token];
        const renewed = await runScript(redis, { ...renewScript, keys, args }, { sent });
        if (over) return;
        inDoubt = false;
        if (renewed !== 1) return lose(lostError('another has it'));
        until = since + ms;
        watchEnd();
      } catch {
        // Redis is away. It may be back before the lease ends.
      }
      if (!over) renewLater();
    }

    const giveBack = () => abandoned.giveBack({ name: keys[0], id, inDoubt, until });

    const mine = {
      async end(reason: unknown) {
        finish();
        lost.abort(reason);
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
      await abandoned.close();
    },
  };
}
