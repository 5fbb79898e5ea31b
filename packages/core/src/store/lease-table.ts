import type { Clock } from '../runtime/clock.ts';
import type { CoordinatorAnswer, CoordinatorCall } from './cluster-messages.ts';

/** One of those who share a table. */
export interface Member {
  /** Does what it asks for. */
  answer(call: CoordinatorCall): CoordinatorAnswer;
  /** Ends its leases and subscriptions: it is gone. */
  leave(): void;
}

/** Leases and subscriptions of several owners, where all of them ask. */
export interface LeaseTable {
  /** @param tell brings a message of a channel that it listens to */
  join(tell: (channel: string, message: string) => void): Member;
}

interface Owner {
  /** When it last asked for something: it lived then. */
  heardAt: number;
  channels: Set<string>;
  tell: (channel: string, message: string) => void;
}

interface Held {
  owner: Owner;
  token: number;
  value: string;
  ms: number;
}

/**
 * A lease ends when its owner leaves, or has not been heard for as long as the lease is for. Tokens rise over all keys,
 * also over restarts: they are microseconds since the epoch.
 */
export function createLeaseTable(clock: Clock): LeaseTable {
  const leases = new Map<string, Held>();
  const owners = new Set<Owner>();
  let lastToken = 0;

  function heldNow(key: string): Held | undefined {
    const held = leases.get(key);
    if (!held || clock.monotonic() - held.owner.heardAt < held.ms) return held;
    leases.delete(key);
    return undefined;
  }

  function acquire(owner: Owner, { key, for: ms, value }: CoordinatorCall & { call: 'acquire' }): number | undefined {
    if (heldNow(key)) return undefined;
    lastToken = Math.max(lastToken + 1, Math.floor(clock.now() * 1000));
    leases.set(key, { owner, token: lastToken, value, ms });
    return lastToken;
  }

  function answer(owner: Owner, call: CoordinatorCall): CoordinatorAnswer {
    switch (call.call) {
      case 'acquire':
        return acquire(owner, call);
      case 'release':
        if (leases.get(call.key)?.token === call.token) leases.delete(call.key);
        return undefined;
      case 'renew':
        return undefined;
      case 'leave':
        leave(owner);
        return undefined;
      case 'holder':
        return heldNow(call.key)?.value;
      case 'publish':
        for (const { channels, tell } of owners) if (channels.has(call.channel)) tell(call.channel, call.message);
        return undefined;
      case 'subscribe':
        owner.channels.add(call.channel);
        return undefined;
      case 'unsubscribe':
        owner.channels.delete(call.channel);
        return undefined;
    }
  }

  function leave(owner: Owner): void {
    owners.delete(owner);
    for (const [key, held] of leases) if (held.owner === owner) leases.delete(key);
  }

  return {
    join(tell) {
      const owner: Owner = { heardAt: clock.monotonic(), channels: new Set(), tell };
      owners.add(owner);
      return {
        answer(call) {
          owner.heardAt = clock.monotonic();
          return answer(owner, call);
        },
        leave: () => leave(owner),
      };
    },
  };
}
