import { keyOf, prefixOf, textOf } from '../catalog/keys.ts';
import { decodeRecord, encodeRecord, isDamaged } from '../catalog/record-codec.ts';
import type { Clock } from '../runtime/clock.ts';
import { createFlights } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createRecent } from '../runtime/recent.ts';
import type { Coordinator } from '../store/coordinator.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import { inTurn } from '../store/in-turn.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import type { GroupEvent } from './events.ts';

/** Which member of a group owns a repository. */
export interface Pin {
  /** As the group names it. */
  repository: string;
  /** The member's key; `undefined` where the record cannot be read, so that nothing of it is served until it is unpinned. */
  upstream?: string;
  /** Ms since the epoch. */
  pinnedAt?: number;
}

/** A pin that can be read. */
export type Owner = Required<Pin>;

/** Which members own which repositories: written down before it is told, and never guessed. */
export interface Pins {
  /**
   * Who owns a repository; `undefined`: nobody yet. What was read before holds while the store is away.
   *
   * @throws ProxyCacheError `storage-failed` where nobody knows; the signal's reason
   */
  find(group: string, repository: string, signal: AbortSignal): Promise<Owner | undefined>;
  /** Looks for the same in memory, now and later. `undefined` says nothing: the store may know of one. */
  lookup(group: string, repository: string): () => string | undefined;
  /** Gives a repository an owner, unless it has one: then that one. @throws ProxyCacheError `storage-failed` */
  give(group: string, repository: string, upstream: string): Promise<Owner>;
  /** In the order of their keys in the store. @throws ProxyCacheError `storage-failed` */
  list(group: string, page: { after?: string | undefined; limit: number }): Promise<readonly Pin[]>;
  /** @returns whether there was one @throws ProxyCacheError `storage-failed` */
  remove(group: string, repository: string): Promise<boolean>;
  /** Listens no more. */
  close(): void;
}

interface Held {
  owner: Owner;
  /** `clock.monotonic()` ms from which on it is read again. */
  until: number;
}

const mostHeld = 20_000;
const heldForMs = 60_000;
/** While the store is away. */
const againAfterMs = 5_000;
const mostTries = 4;
const channel = 'groups/unpinned';

export function createPins(parts: {
  metadata: MetadataStore;
  coordinator: Coordinator | undefined;
  clock: Clock;
  observe(event: GroupEvent | StoreEvent): void;
}): Pins {
  const { metadata, coordinator, clock, observe } = parts;
  const held = createRecent<string, Held>(mostHeld);
  const flights = createFlights<Owner | undefined>();
  let removals = 0;

  function forget(key: string): void {
    removals++;
    held.delete(key);
  }
  const stop = coordinator?.subscribe(channel, forget);

  function keep(key: string, owner: Owner, forMs = heldForMs): Owner {
    held.set(key, { owner, until: clock.monotonic() + forMs });
    return owner;
  }

  async function read(key: string, signal: AbortSignal): Promise<Owner | undefined> {
    const before = removals;
    const entry = await metadata.get(key, { signal });
    if (!entry) {
      held.delete(key);
      return undefined;
    }
    const owner = ownerOf(key, entry.value);
    // What was read may be what was just removed.
    return before === removals ? keep(key, owner) : owner;
  }

  async function write(
    key: string,
    { group, owner }: { group: string; owner: Owner },
    signal: AbortSignal,
  ): Promise<Owner> {
    const { repository, upstream } = owner;
    for (let tries = 1; tries <= mostTries; tries++) {
      const winner = await read(key, signal);
      if (winner) return winner;
      if (await metadata.set(key, encodeRecord(owner), { ifVersion: 'absent', signal })) {
        observe({ type: 'group-pinned', group, repository, upstream });
        return keep(key, owner);
      }
    }
    throw new Error(`given up after ${mostTries} conflicting writes`);
  }

  async function textAt(key: string, signal: AbortSignal): Promise<string | undefined> {
    try {
      return (await metadata.get(key, { signal }))?.value;
    } catch (error) {
      if (isDamaged(error)) return '';
      throw error;
    }
  }

  return {
    lookup(group, repository) {
      const key = pinKey(group, repository);
      return () => {
        const known = held.get(key);
        return known && clock.monotonic() < known.until ? known.owner.upstream : undefined;
      };
    },
    async find(group, repository, signal) {
      const key = pinKey(group, repository);
      const known = held.get(key);
      if (known && clock.monotonic() < known.until) return known.owner;
      // Whoever comes meanwhile goes by what is known.
      if (known) keep(key, known.owner, againAfterMs);
      try {
        return await flights.join(key, (signalOfAll) => read(key, signalOfAll), signal);
      } catch (error) {
        signal.throwIfAborted();
        observe(storeFailed('metadata-get', key, error));
        if (known) return known.owner;
        throw unknown(group, repository, error);
      }
    },
    async give(group, repository, upstream) {
      const key = pinKey(group, repository);
      const owner: Owner = { repository, upstream, pinnedAt: clock.now() };
      // Not a request's signal: what was found holds also when whoever asked has left.
      const { signal } = new AbortController();
      try {
        return await inTurn(`groups/${key}`, () => write(key, { group, owner }, signal), parts);
      } catch (error) {
        observe(storeFailed('metadata-set', key, error));
        throw unknown(group, repository, error);
      }
    },
    async list(group, { after, limit }) {
      const { signal } = new AbortController();
      const prefix = prefixOf('pin', group);
      const from = after === undefined ? {} : { after: pinKey(group, after) };
      const keys = await metadata.list(prefix, { ...from, limit, signal });
      const texts = await Promise.all(keys.map((key) => textAt(key, signal)));
      return keys.flatMap((key, index) => {
        const text = texts[index];
        return text === undefined ? [] : [pinOf(key, text, prefix)];
      });
    },
    async remove(group, repository) {
      const key = pinKey(group, repository);
      const { signal } = new AbortController();
      const wasThere = await metadata.delete(key, { signal });
      forget(key);
      // Those that are not told read it again within a minute.
      await coordinator?.publish(channel, key).catch(() => undefined);
      if (wasThere) observe({ type: 'group-unpinned', group, repository });
      return wasThere;
    },
    close: () => stop?.(),
  };
}

const pinKey = (group: string, repository: string) => keyOf('pin', group, repository);

/** @throws ProxyCacheError `storage-damaged`, `storage-format` */
function ownerOf(key: string, text: string): Owner {
  const { repository, upstream, pinnedAt } = decodeRecord<Owner>(key, text);
  if (typeof upstream === 'string' && typeof repository === 'string') return { repository, upstream, pinnedAt };
  throw new ProxyCacheError('storage-damaged', `the record of ${key} is damaged; unpin the repository`);
}

function pinOf(key: string, text: string, prefix: string): Pin {
  try {
    return ownerOf(key, text);
  } catch {
    return { repository: textOf(key.slice(prefix.length)) ?? key.slice(prefix.length) };
  }
}

function unknown(group: string, repository: string, cause: unknown): ProxyCacheError {
  const message = `which member of the group ${group} owns ${repository} cannot be told while the metadata store fails`;
  return new ProxyCacheError('storage-failed', message, { cause });
}
