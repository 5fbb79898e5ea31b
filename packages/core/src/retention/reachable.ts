import type { Clock } from '../runtime/clock.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { RetentionEvent } from './events.ts';

const pingWithinMs = 5_000;

/** The credential scope of the upstream's own credential. */
const ownScope = '-';

/**
 * Tells of each upstream, once, whether it answers now: what it gave could be fetched again then. One that nobody asks has no
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

  async function ask(upstream: string): Promise<boolean> {
    const client = clientOf(upstream);
    if (!client) return true;
    const { mode, state } = client.status();
    if (mode === 'offline' || state !== 'closed') {
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

  return (upstream) => {
    const asked = known.get(upstream) ?? ask(upstream);
    known.set(upstream, asked);
    return asked;
  };
}
