import { type Clock, systemClock } from '../runtime/clock.ts';
import type { Coordinator, Lease } from './coordinator.ts';

/**
 * A coordinator that knows this process only. A lease is never lost, since its holder cannot die before it; tokens rise
 * over all keys, and from one process to the next: they are microseconds since the epoch, or the last one and one more,
 * because stores remember them. Messages are delivered before `publish` is done; what a subscriber throws is dropped.
 */
export function localCoordinator({ clock = systemClock }: { clock?: Clock } = {}): Coordinator {
  const holders = new Map<string, { token: number; value: string | undefined }>();
  const channels = new Map<string, Set<(message: string) => void>>();
  const neverLost = new AbortController().signal;
  let tokens = 0;

  return {
    async acquire(key, { value, signal }): Promise<Lease | undefined> {
      signal.throwIfAborted();
      if (holders.has(key)) return undefined;
      tokens = Math.max(tokens + 1, Math.floor(clock.now() * 1000));
      const token = tokens;
      holders.set(key, { token, value });
      return {
        token,
        lost: neverLost,
        // Released twice, a lease must not end the one that came after it.
        async release() {
          if (holders.get(key)?.token === token) holders.delete(key);
        },
      };
    },
    async holder(key) {
      const held = holders.get(key);
      return held && (held.value ?? '');
    },
    async publish(channel, message) {
      for (const fn of [...(channels.get(channel) ?? [])]) {
        try {
          fn(message);
        } catch {
          // One subscriber's failure is not the publisher's, nor the other subscribers'.
        }
      }
    },
    subscribe(channel, fn) {
      // Wrapped, so that the same function can be subscribed twice and ended once.
      const subscriber = (message: string) => fn(message);
      const subscribers = channels.get(channel) ?? new Set();
      channels.set(channel, subscribers.add(subscriber));
      return () => {
        subscribers.delete(subscriber);
        if (subscribers.size === 0 && channels.get(channel) === subscribers) channels.delete(channel);
      };
    },
  };
}
