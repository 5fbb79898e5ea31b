import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { type ErrorCode, isProxyCacheError } from '../runtime/errors.ts';
import { fenceForMs } from './fence-life.ts';
import { orFail } from './file-system.ts';
import { createKeyIndex } from './key-index.ts';
import { createKeyedLock } from './keyed-lock.ts';
import {
  checkKeyv,
  checkUse,
  indexDocuments,
  type KeyvLike,
  type PreparedValue,
  readMany,
  writeText,
} from './keyv-access.ts';
import { mapBounded } from './map-bounded.ts';
import { decodeEnvelope, type Envelope, encodeEnvelope } from './metadata-envelope.ts';
import { prefixSegments } from './metadata-key.ts';
import type { MetadataEntry, MetadataStore, SetOptions } from './metadata-store.ts';

/** Options of {@link keyvMetadata}. */
export interface KeyvMetadataOptions {
  /**
   * A listing of the Keyv's own, by the rule of `MetadataStore.list`; it may hold keys that have expired. Default: an
   * index kept in the Keyv, under keys that begin with `!`.
   */
  list?: MetadataStore['list'];
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** How much longer than it is valid a record stays in the Keyv, whose own expiry is only garbage collection. */
const graceMs = 3_600_000;

const readsAtOnce = 32;

/** What a record that is there, and cannot be read, fails with. */
const unreadable: readonly ErrorCode[] = ['storage-damaged', 'storage-format'];

const isNothing = (text: unknown) => text === undefined || text === null;

/**
 * A metadata store over any Keyv 5, which is set to throw its errors. Conditions (`ifVersion`, `fence`) hold within this
 * process only; so do listings without a `list` of the Keyv's own: of processes that share the Keyv one may overwrite
 * what the other has just added to the index. A server that drops keys by itself (Redis with a `maxmemory-policy` other
 * than `noeviction`) loses records and parts of the index.
 *
 * @throws ProxyCacheError `invalid-options` for a Keyv with a default ttl or a namespace outside `[A-Za-z0-9_-]`
 */
export function keyvMetadata(keyv: KeyvLike, options: KeyvMetadataOptions = {}): MetadataStore {
  return createKeyvMetadata(keyv, options);
}

/**
 * The same over a Keyv whose store does more than Keyv asks of it.
 *
 * @param options.prepare makes a value ready, which takes most of the time of a write. Default: the store cannot
 */
export function createKeyvMetadata(
  keyv: KeyvLike,
  options: KeyvMetadataOptions & { prepare?: (key: string, text: string) => Promise<PreparedValue> },
): MetadataStore {
  checkKeyv(keyv);
  const { clock = systemClock, prepare } = options;
  const index = createKeyIndex(indexDocuments(keyv));
  const indexed = options.list === undefined;
  const listKeys = options.list ?? index.list;
  const lock = createKeyedLock();
  const writer = randomBytes(6).toString('base64url');
  let writes = 0;
  // Until the first one a write need not look for what it must keep.
  let knowsFences = false;

  const isLive = ({ expiresAt }: Envelope) => expiresAt === undefined || clock.now() < expiresAt;

  const entryOf = (key: string, text: unknown): MetadataEntry | undefined => {
    if (isNothing(text)) return undefined;
    const envelope = decodeEnvelope(key, text);
    return isLive(envelope) ? { value: envelope.value, version: envelope.version } : undefined;
  };

  /** Runs work under the key's lock. It is held to the work's end, also when the caller has given up by then. */
  function change<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return abortable(lock(key, signal, work), signal).catch(orFail(`write ${key}`, signal));
  }

  /** Whether the conditions of a write hold against what is stored now. */
  function allows(current: Envelope | undefined, { ifVersion, fence }: SetOptions): boolean {
    if (fence !== undefined && current?.fence !== undefined && fence < current.fence) return false;
    if (ifVersion === undefined) return true;
    const version = current && isLive(current) ? current.version : 'absent';
    return version === ifVersion;
  }

  async function write(key: string, envelope: Envelope): Promise<void> {
    const { expiresAt, fence } = envelope;
    const grace = fence === undefined ? graceMs : fenceForMs;
    const ttl = expiresAt === undefined ? undefined : Math.ceil(Math.max(expiresAt - clock.now(), 0)) + grace;
    await writeText(keyv, { key, text: encodeEnvelope(envelope), ttl });
  }

  /** Makes ready what will be written unless something is there: while that is looked for. */
  function writeAhead(key: string, next: Envelope, { ifVersion }: SetOptions): Promise<PreparedValue> | undefined {
    const ahead = ifVersion === 'absent' ? prepare?.(key, encodeEnvelope(next)) : undefined;
    // It is waited for when it is known whether it is to be written.
    ahead?.catch(() => undefined);
    return ahead;
  }

  async function read(key: string): Promise<Envelope | undefined> {
    const text: unknown = await keyv.get(key);
    return isNothing(text) ? undefined : decodeEnvelope(key, text);
  }

  /** What is read of a record, or `unreadable`: that is something, and the key's next write or delete replaces it. */
  async function inspect(key: string): Promise<Envelope | 'unreadable' | undefined> {
    try {
      return await read(key);
    } catch (error) {
      // Of a Keyv that failed nothing is known.
      if (isProxyCacheError(error) && unreadable.includes(error.code)) return 'unreadable';
      throw error;
    }
  }

  /** What an unconditional write must know of what it replaces. */
  async function inspectToKeep(key: string): Promise<Envelope | undefined> {
    const current = indexed || knowsFences ? await inspect(key) : undefined;
    return current === 'unreadable' ? undefined : current;
  }

  /** @returns whether something valid was removed; its fence stays */
  async function remove(key: string, isTheOne: (current: Envelope | 'unreadable') => boolean): Promise<boolean> {
    const current = await inspect(key);
    if (current === undefined || !isTheOne(current)) return false;
    const isValid = current === 'unreadable' || isLive(current);
    if (current === 'unreadable' || current.fence === undefined) await keyv.delete(key);
    else if (isValid) await write(key, { ...current, value: '', expiresAt: 0 });
    if (indexed) await index.remove(key);
    return isValid;
  }

  /** Ends what is left of a key: a value that has expired (not its fence), an entry of the index without a value. */
  async function forget(key: string): Promise<void> {
    const current = await inspect(key);
    if (current === undefined && indexed) await index.remove(key);
    else await remove(key, (now) => now !== 'unreadable' && !isLive(now));
  }

  /** The keys among these that hold something; of the others nothing is left. */
  async function keepLive(keys: readonly string[], signal: AbortSignal): Promise<string[]> {
    const live: string[] = [];
    const found = await abortable(mapBounded(keys, readsAtOnce, inspect), signal);
    for (const [at, key] of keys.entries()) {
      const current = found[at];
      if (current !== undefined && (current === 'unreadable' || isLive(current))) live.push(key);
      else await change(key, signal, () => forget(key));
    }
    return live;
  }

  async function listLive(prefix: string, page: Parameters<MetadataStore['list']>[1]): Promise<string[]> {
    const keys: string[] = [];
    for (let at = page; keys.length < page.limit; ) {
      const limit = page.limit - keys.length;
      const names = await abortable(listKeys(prefix, { ...at, limit }), page.signal);
      keys.push(...(await keepLive(names, page.signal)));
      const last = names.at(-1);
      if (last === undefined || names.length < limit) break;
      at = { ...page, after: last };
    }
    return keys;
  }

  return {
    async get(key, { signal }) {
      checkUse(keyv, [key], signal);
      const text: unknown = await abortable(keyv.get(key), signal).catch(orFail(`read ${key}`, signal));
      return entryOf(key, text);
    },
    async getMany(keys, { signal }) {
      checkUse(keyv, keys, signal);
      const reading = readMany(keyv, keys, signal);
      const texts = await abortable(reading, signal).catch(orFail(`read ${keys.length} records`, signal));
      return keys.map((key, at) => entryOf(key, texts[at]));
    },
    async set(key, value, setOptions) {
      const { signal, expiresAt = Number.POSITIVE_INFINITY, fence } = setOptions;
      checkUse(keyv, [key], signal);
      const isConditional = setOptions.ifVersion !== undefined || fence !== undefined;
      knowsFences ||= fence !== undefined;
      return await change(key, signal, async () => {
        const version = `${writer}.${(writes++).toString(36)}`;
        const next = { value, version, expiresAt: Number.isFinite(expiresAt) ? expiresAt : undefined, fence };
        let ahead = writeAhead(key, next, setOptions);
        try {
          const known = isConditional ? await read(key) : await inspectToKeep(key);
          if (!allows(known, setOptions)) return false;
          // Before the value can be read: a crash in between leaves an entry without a value, which a listing removes.
          if (indexed && !(known && isLive(known))) await index.add(key);
          if (ahead && known === undefined) {
            const ready = await ahead;
            ahead = undefined;
            await ready.place();
          } else await write(key, { ...next, fence: fence ?? known?.fence });
          return true;
        } finally {
          await ahead?.then(
            ({ drop }) => drop(),
            () => undefined,
          );
        }
      });
    },
    async delete(key, { ifVersion, signal }) {
      checkUse(keyv, [key], signal);
      return await change(key, signal, async () => {
        if (ifVersion === undefined) return await remove(key, () => true);
        return await remove(key, (now) => now !== 'unreadable' && isLive(now) && now.version === ifVersion);
      });
    },
    async list(prefix, { after, limit, signal }) {
      checkUse(keyv, [], signal);
      prefixSegments(prefix);
      return await listLive(prefix, { ...(after === undefined ? {} : { after }), limit, signal }).catch(
        orFail(`list ${prefix}`, signal),
      );
    },
  };
}
