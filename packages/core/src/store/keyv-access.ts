import type { Keyv } from 'keyv';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { IndexDocuments } from './key-index.ts';
import { mapBounded } from './map-bounded.ts';
import { checkMetadataKey } from './metadata-key.ts';

/** What is used of a Keyv 5, so that one of another copy of the package fits too. */
export type KeyvLike = Pick<
  Keyv,
  'get' | 'getMany' | 'set' | 'delete' | 'namespace' | 'ttl' | 'throwOnErrors' | 'useKeyPrefix' | 'store'
>;

/** A value that was made ready to be put in its place. Exactly one of both is called. */
export interface PreparedValue {
  place(): Promise<void>;
  drop(): Promise<void>;
}

const batch = 256;
const readsAtOnce = 32;

/**
 * Makes a Keyv fit to hold records: its failures and those of its store are thrown from now on. What cannot be set right
 * is refused.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function checkKeyv(keyv: KeyvLike): void {
  if (typeof keyv?.get !== 'function' || typeof keyv.getMany !== 'function') {
    throw new ProxyCacheError('invalid-options', `keyvMetadata: expected a Keyv, received ${typeof keyv}`);
  }
  if (keyv.ttl) {
    throw new ProxyCacheError(
      'invalid-options',
      `keyvMetadata: the Keyv has a ttl of ${keyv.ttl} ms, which would drop records that are still needed; remove it`,
    );
  }
  // Keyv and its stores part prefix and key by colons, and Redis takes the rest for a pattern.
  if (keyv.namespace !== undefined && !/^[A-Za-z0-9_-]+$/.test(keyv.namespace)) {
    throw new ProxyCacheError(
      'invalid-options',
      `keyvMetadata: the Keyv's namespace must be of [A-Za-z0-9_-], received ${JSON.stringify(keyv.namespace)}`,
    );
  }
  keyv.throwOnErrors = true;
  const { store } = keyv;
  if (typeof store === 'object' && store !== null && 'throwOnErrors' in store) store.throwOnErrors = true;
}

/**
 * What must hold whenever the Keyv is used.
 *
 * @throws ProxyCacheError `storage-failed` for what is no key, `invalid-options` when another Keyv has taken over the
 *   store since: their keys would mix
 */
export function checkUse({ store, namespace }: KeyvLike, keys: readonly string[], signal: AbortSignal): void {
  signal.throwIfAborted();
  for (const key of keys) checkMetadataKey(key);
  if (store instanceof Map || store?.namespace === namespace) return;
  throw new ProxyCacheError(
    'invalid-options',
    `keyvMetadata: the Keyv's store was given to another Keyv, of namespace ${JSON.stringify(store?.namespace)}; ` +
      'make a store of its own for each, they may share a client',
  );
}

/** The texts under the keys, in their order. */
export async function readMany(
  keyv: KeyvLike,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<readonly unknown[]> {
  // Keyv tells a failure as "absent" here when the store cannot read many at once.
  if (typeof keyv.store?.getMany !== 'function') {
    return await mapBounded(keys, readsAtOnce, (key) => {
      signal.throwIfAborted();
      return keyv.get(key);
    });
  }
  const found: unknown[] = [];
  for (let at = 0; at < keys.length; at += batch) {
    signal.throwIfAborted();
    found.push(...(await keyv.getMany(keys.slice(at, at + batch))));
  }
  return found;
}

/** @throws ProxyCacheError `storage-failed` when the Keyv says that it did not */
export async function writeText(
  keyv: KeyvLike,
  { key, text, ttl }: { key: string; text: string; ttl: number | undefined },
): Promise<void> {
  if (!(await keyv.set(key, text, ttl))) {
    throw new ProxyCacheError('storage-failed', `the Keyv did not take the value of ${key}`);
  }
}

/** The index's documents in the Keyv itself, under keys that no record can have. */
export function indexDocuments(keyv: KeyvLike): IndexDocuments {
  const keyOf = (id: string) => `!index/${id}`;
  return {
    async read(id) {
      const text: unknown = await keyv.get(keyOf(id));
      return typeof text === 'string' ? text : undefined;
    },
    write: (id, text) => writeText(keyv, { key: keyOf(id), text, ttl: undefined }),
    async remove(id) {
      await keyv.delete(keyOf(id));
    },
  };
}
