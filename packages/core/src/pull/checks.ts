import type { Digest } from '../oci/digest.ts';
import { abortable } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';

/** Looks at a stored blob. */
export type CheckWork = (signal: AbortSignal) => Promise<number | undefined>;

/** The looks at stored blobs that are under way, one per blob. */
export interface Checks {
  /**
   * What the one under way finds, or a new one. It goes on when those who wait for it leave: else clients that are less
   * patient than the hash would have it begin anew for ever. Rejects with the signal's reason when `signal` fires.
   */
  join(digest: Digest, work: CheckWork, signal: AbortSignal): Promise<number | undefined>;
  /** Ends what runs. Never rejects. */
  close(): Promise<void>;
}

type Check = { result: Promise<number | undefined>; waiters: number; controller: AbortController };

/** How many go on for nobody: each holds an open file. Those of clients that wait are as many as those. */
const mostLeft = 4;

export function createChecks(): Checks {
  const running = new Map<Digest, Check>();
  const ending = new Set<Promise<unknown>>();
  let closed: ProxyCacheError | undefined;

  function launch(digest: Digest, work: CheckWork): Check {
    const controller = new AbortController();
    const check: Check = { controller, waiters: 0, result: Promise.resolve().then(() => work(controller.signal)) };
    const end = () => {
      if (running.get(digest) === check) running.delete(digest);
      ending.delete(ended);
    };
    const ended: Promise<void> = check.result.then(end, end);
    ending.add(ended);
    running.set(digest, check);
    return check;
  }

  function leave(digest: Digest, check: Check): void {
    check.waiters--;
    if (check.waiters > 0 || running.get(digest) !== check) return;
    if ([...running.values()].filter(({ waiters }) => waiters === 0).length <= mostLeft) return;
    // Those that were left before have come further.
    running.delete(digest);
    check.controller.abort(new Error('nobody waits for it'));
  }

  return {
    async join(digest, work, signal) {
      signal.throwIfAborted();
      if (closed) throw closed;
      const check = running.get(digest) ?? launch(digest, work);
      check.waiters++;
      try {
        return await abortable(check.result, signal);
      } finally {
        leave(digest, check);
      }
    },
    async close() {
      closed ??= new ProxyCacheError('closed', 'the cache is closed');
      for (const { controller } of running.values()) controller.abort(closed);
      await Promise.all(ending);
    },
  };
}
