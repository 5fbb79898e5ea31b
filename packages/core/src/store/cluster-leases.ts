import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { ClusterCalls } from './cluster-calls.ts';
import type { Coordinator, Lease } from './coordinator.ts';

/** The leases of one coordinator of a worker. */
export interface ClusterLeases {
  acquire: Coordinator['acquire'];
  /** The primary is gone, and with it all leases. */
  loseAll(reason: unknown): void;
  /** Tells their holders that they are lost, and renews none any more. */
  close(): void;
}

interface Held {
  key: string;
  token: number;
  ms: number;
  /** When it was last certain that the primary keeps it, and for how long from then. */
  until: number;
  lost: AbortController;
  cancel: () => void;
}

/** How often leases are renewed within the shortest time that one outlives its holder. */
const renewals = 3;

/**
 * Leases as the primary gives them. One message renews all of them. Here a lease is lost earlier than there: time is
 * counted from before the primary was asked.
 */
export function createClusterLeases(calls: ClusterCalls, clock: Clock): ClusterLeases {
  const all = new Set<Held>();
  let beatsEvery = Number.POSITIVE_INFINITY;
  let cancelBeat = (): void => undefined;

  const giveBack = (key: string, token: number) => calls.tell({ call: 'release', key, token });

  function drop(held: Held): boolean {
    held.cancel();
    return all.delete(held);
  }

  function lose(held: Held, reason: unknown): void {
    if (drop(held)) held.lost.abort(reason);
  }

  function loseAll(reason: unknown): void {
    for (const held of [...all]) lose(held, reason);
  }

  /** Whatever the primary does: from then on another may have it. */
  function watchEnd(held: Held): void {
    held.cancel();
    held.cancel = clock.after(Math.max(held.until - clock.monotonic(), 0), () => {
      lose(held, new ProxyCacheError('storage-failed', 'the lease was lost: it could not be renewed in time'));
      // The primary may keep it yet; the others need not wait for that.
      void giveBack(held.key, held.token);
    });
  }

  function beat(): void {
    cancelBeat();
    beatsEvery = Math.min(...[...all].map(({ ms }) => ms / renewals));
    if (Number.isFinite(beatsEvery)) cancelBeat = clock.after(beatsEvery, () => void renew());
  }

  async function renew(): Promise<void> {
    const since = clock.monotonic();
    const renewed = [...all];
    beat();
    try {
      // Also while the primary is left alone: it may be back in time.
      await calls.ask({ call: 'renew' }, { rests: false });
    } catch {
      return;
    }
    for (const held of renewed) {
      if (!all.has(held)) continue;
      held.until = Math.max(held.until, since + held.ms);
      watchEnd(held);
    }
  }

  return {
    async acquire(key, { for: ms, value = '', signal }): Promise<Lease | undefined> {
      signal.throwIfAborted();
      if (!(ms >= 1)) throw new ProxyCacheError('invalid-options', `a lease must be for at least 1 ms, received ${ms}`);
      const since = clock.monotonic();
      // Not given up half-way: whoever left would hold it without knowing.
      const token = await calls.ask(
        { call: 'acquire', key, for: ms, value },
        { late: (token) => void (typeof token === 'number' && giveBack(key, token)) },
      );
      if (typeof token !== 'number') return undefined;
      if (signal.aborted) {
        await giveBack(key, token);
        throw signal.reason;
      }
      const lost = new AbortController();
      const held: Held = { key, token, ms, until: since + ms, lost, cancel: () => undefined };
      all.add(held);
      watchEnd(held);
      if (ms / renewals < beatsEvery) beat();
      return {
        token,
        lost: lost.signal,
        async release() {
          if (drop(held)) await giveBack(key, token);
        },
      };
    },
    loseAll,
    close() {
      cancelBeat();
      loseAll(new ProxyCacheError('closed', 'the coordinator was closed'));
    },
  };
}
