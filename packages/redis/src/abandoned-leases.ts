import type { Clock } from '@proxycache/core';
import type { Redis } from './redis.ts';
import { runScript, script } from './scripts.ts';

/** A lease that nobody wants, and that Redis may hold for its owner. */
export interface AbandonedLease {
  /** Its name in Redis. */
  name: string;
  /** Says which of the leases of that name it is. */
  id: string;
  /** Whether something that would take or renew it was sent and not answered, and may be done late. */
  inDoubt: boolean;
  /** An instant of the clock's `monotonic()`, until which one in doubt is looked for at least. */
  until: number;
}

/** The abandoned leases of one owner. */
export interface AbandonedLeases {
  /** Gives one back; resolves when Redis was told, or could not be told, which then is tried again. */
  giveBack(lease: AbandonedLease): Promise<void>;
  /** Those of a name, which its next owner here may take over. */
  idsOf(name: string): readonly string[];
  /** Whoever took over what a name had needs it to be given back no more. */
  takenOver(name: string): void;
  /** Tries each once more. */
  close(): Promise<void>;
}

const retryMs = 250;

/** How many answers in a row must say that one in doubt is not there: a server may be slow with an older connection. */
const looks = 2;

// KEYS lease; ARGV id.
const releaseScript = script(`
local text = redis.call('GET', KEYS[1])
if text and string.match(text, '^%S+ (%S+)\\n') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`);

type Watched = AbandonedLease & { missing: number; cancel: () => void };

/** Without this a lease whose answer was lost, or that could not be given back, would bar everybody for its time. */
export function createAbandonedLeases({ redis, clock }: { redis: Redis; clock: Clock }): AbandonedLeases {
  const byName = new Map<string, Set<Watched>>();
  let closed = false;

  function forget(lease: Watched): void {
    lease.cancel();
    const others = byName.get(lease.name);
    others?.delete(lease);
    if (others?.size === 0) byName.delete(lease.name);
  }

  const isWatched = (lease: Watched) => byName.get(lease.name)?.has(lease) === true;

  async function attempt(lease: Watched): Promise<void> {
    const { name, id } = lease;
    const given = await runScript(redis, { ...releaseScript, keys: [name], args: [id] }, {}).catch(() => undefined);
    if (!isWatched(lease)) return;
    lease.missing = given === 0 ? lease.missing + 1 : 0;
    const isSure = lease.missing >= looks && clock.monotonic() >= lease.until;
    if (closed || (given !== undefined && (!lease.inDoubt || isSure))) return forget(lease);
    lease.cancel = clock.after(retryMs, () => void attempt(lease));
  }

  return {
    async giveBack(lease) {
      const watched = { ...lease, missing: 0, cancel: () => undefined };
      const others = byName.get(lease.name);
      if (others === undefined) byName.set(lease.name, new Set([watched]));
      else others.add(watched);
      await attempt(watched);
    },
    idsOf: (name) => [...(byName.get(name) ?? [])].map(({ id }) => id),
    takenOver(name) {
      for (const lease of byName.get(name) ?? []) forget(lease);
    },
    async close() {
      closed = true;
      const all = [...byName.values()].flatMap((leases) => [...leases]);
      for (const { cancel } of all) cancel();
      await Promise.all(all.map(attempt));
    },
  };
}
