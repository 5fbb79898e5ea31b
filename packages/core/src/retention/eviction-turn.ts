import type { Clock } from '../runtime/clock.ts';
import { pause } from '../runtime/pause.ts';
import type { Coordinator, Lease } from '../store/coordinator.ts';

/**
 * Does some work that makes room while no other process that shares the storage makes any: by what it saw before, each of
 * many would let as much go as is to go in all.
 *
 * @param work.waited whether another one made room meanwhile
 * @throws what the work throws; the signal's reason
 */
export type EvictionTurn = <T>(work: (waited: boolean) => Promise<T>, signal: AbortSignal) => Promise<T>;

/** The turns of this process. */
export interface EvictionTurns {
  inTurn: EvictionTurn;
  /** Resolves when all that were begun have ended. Never rejects. */
  ended(): Promise<unknown>;
}

const leaseKey = 'retention/evict';
/** It outlives a process that was killed, and so long nothing goes for the others. */
const leaseForMs = 15_000;
const askEveryMs = 500;

/** @param parts.coordinator without it this is the only process */
export function createEvictionTurns({
  coordinator,
  clock,
}: {
  coordinator: Pick<Coordinator, 'acquire'> | undefined;
  clock: Clock;
}): EvictionTurns {
  if (!coordinator) return { inTurn: (work) => work(false), ended: async () => undefined };
  const leases = coordinator;
  let last: Promise<unknown> = Promise.resolve();

  /** `lease`: none of a coordinator that is away, which keeps nobody from it. */
  async function take(signal: AbortSignal): Promise<{ lease: Lease | undefined; waited: boolean }> {
    for (let waited = false; ; waited = true) {
      const lease = await leases.acquire(leaseKey, { for: leaseForMs, signal }).catch(() => {
        signal.throwIfAborted();
        return 'away' as const;
      });
      if (lease) return { lease: lease === 'away' ? undefined : lease, waited };
      await pause(askEveryMs, clock, signal);
    }
  }

  const inTurn: EvictionTurn = (work, signal) => {
    const turn = last.then(async () => {
      signal.throwIfAborted();
      const { lease, waited } = await take(signal);
      // One that is lost ends nothing: half of an eviction is worth less than two of them cost.
      try {
        return await work(waited);
      } finally {
        await lease?.release();
      }
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  return { inTurn, ended: () => last };
}
