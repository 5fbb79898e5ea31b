import type { Clock } from '../runtime/clock.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { RetentionEvent } from './events.ts';

const pingWithinMs = 5_000;

/** The credential scope of the upstream's own credential. */
const ownScope = '-';

/**
 * Tells of each upstream, asking it once, whether it answers now: what it gave could be fetched again then. One that nobody asks has no
 * failures to tell of, so it is asked. One that was removed keeps nothing.
 */
export function createReachable(parts: {
  clientOf(upstream: string): Pick<Upstream, 'status' | 'ping'> | undefined;
  clock: Clock;
  observe(event: RetentionEvent): void;
  signal: AbortSignal;
}): (upstream: string) => Promise<boolean> {
  const { clientOf, clock, observe, signal } = parts;
  const known = new Map<string, Promise<boolean>>();

  function mayAnswer(upstream: string): boolean {
    const status = clientOf(upstream)?.status();
    return !status || (status.mode !== 'offline' && status.state === 'closed');
  }

  async function ask(upstream: string): Promise<boolean> {
    const client = clientOf(upstream);
    if (!client) return true;
    if (!mayAnswer(upstream)) {
      observe({ type: 'sweep-paused', upstream });
      return false;
    }
    try {
      await client.ping({ scope: ownScope, deadlineAt: clock.monotonic() + pingWithinMs, signal });
      return true;
    } catch (error) {
      signal.throwIfAborted();
      observe({ type: 'sweep-paused', upstream, error: error instanceof Error ? error.message : String(error) });
      return false;
    }
  }

  return async (upstream) => {
    const asked = known.get(upstream) ?? ask(upstream);
    known.set(upstream, asked);
    if (!(await asked) || mayAnswer(upstream)) return await asked;
    // It was set to offline, or began to fail, since it was asked: to sweep a large store takes long.
    const paused = Promise.resolve(false);
    if (known.get(upstream) === asked) observe({ type: 'sweep-paused', upstream });
    known.set(upstream, paused);
    return paused;
  };
}
