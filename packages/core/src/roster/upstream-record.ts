import { isDeepStrictEqual } from 'node:util';
import { decodeRecord, encodeRecord } from '../catalog/record-codec.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import type { Entry, UnusableEntry } from './entry.ts';
import type { Seal } from './seal.ts';
import { secretNames } from './secrets.ts';
import { waysOfSecrets } from './upstream-change.ts';

/** What is stored of a key. */
interface UpstreamRecord {
  revision: number;
  removed?: true;
  /** All that may be read by whoever reads the store. */
  options?: Readonly<Record<string, unknown>>;
  /** Names of options that are as the cache's own options say, and not stored. */
  kept?: readonly string[];
  /** Names of the options that are in `secret`. */
  sealed?: readonly string[];
  secret?: string;
}

/** Entries as text, and back. */
export interface UpstreamRecords {
  /** @throws ProxyCacheError `invalid-options` for what cannot be stored */
  encode(key: string, entry: Exclude<Entry, UnusableEntry>): string;
  /** What cannot be read, or not all of it, is `unusable`. Never throws. */
  decode(key: string, text: string): Entry;
}

/**
 * @param seal what secrets are stored with; `undefined`: they cannot be
 * @param given the upstream of that key in the cache's own options
 */
export function createUpstreamRecords(
  seal: Seal | undefined,
  given: (key: string) => UpstreamOptions | undefined,
): UpstreamRecords {
  function decodeOptions(key: string, record: UpstreamRecord): Entry {
    const { revision, kept = [], sealed = [], secret = '' } = record;
    const open = revive(record.options) as UpstreamOptions;
    const unusable = (lost: readonly string[], message: string): Entry => {
      const error = new ProxyCacheError('storage-damaged', `${message}; give ${lost.join(', ')} anew by an update`);
      return { kind: 'unusable', revision, options: open, lost, error };
    };
    const own = given(key);
    // A credential that the options have by now for another place must not go to this one.
    const ways = waysOfSecrets.filter((name) => !kept.includes(name) && !sealed.includes(name));
    const isAsGiven = own && ways.every((name) => isDeepStrictEqual(own[name], open[name]));
    if (kept.length > 0 && !isAsGiven) {
      return unusable(
        [...kept, ...sealed],
        `its ${kept.join(', ')} was that of the options, which are not as they were`,
      );
    }
    const fromOptions = Object.fromEntries(kept.map((name) => [name, own?.[name as keyof UpstreamOptions]]));
    if (sealed.length === 0) return { kind: 'upstream', revision, options: { ...open, ...fromOptions } };
    if (!seal)
      return unusable([...kept, ...sealed], 'its secret is encrypted, and persistUpstreams.encryptionKey is not set');
    try {
      const secrets = revive(JSON.parse(seal.open(secret, aboutOf(key, record))));
      return { kind: 'upstream', revision, options: { ...open, ...fromOptions, ...(secrets as object) } };
    } catch {
      // Not the cause: it may quote what it could not parse.
      const message =
        'its secret cannot be decrypted: persistUpstreams.encryptionKey is another one, or the record was changed';
      return unusable([...kept, ...sealed], message);
    }
  }

  return {
    encode(key, entry) {
      const { revision } = entry;
      if (entry.kind === 'removed') return encodeRecord({ revision, removed: true });
      const { options } = entry;
      const own = given(key);
      const isAs = (name: keyof UpstreamOptions) => own !== undefined && isDeepStrictEqual(own[name], options[name]);
      const names = Object.keys(options) as (keyof UpstreamOptions)[];
      const secrets = secretNames(options);
      const special = names.filter((name) => secrets.includes(name) || hasFunction(options[name]));
      const kept = special.filter(isAs);
      const sealed = special.filter((name) => !kept.includes(name));
      for (const name of sealed) {
        if (hasFunction(options[name])) throw unstorable(name, 'no function');
        if (!seal) throw unstorable(name, 'persistUpstreams.encryptionKey to store a secret');
      }
      const pick = (some: readonly string[]) =>
        Object.fromEntries(some.map((name) => [name, stored(options[name as never])]));
      const record: UpstreamRecord = {
        revision,
        options: pick(names.filter((name) => !special.includes(name))),
        ...(kept.length > 0 && { kept }),
        ...(sealed.length > 0 && { sealed }),
      };
      if (sealed.length === 0 || !seal) return encodeRecord(record);
      return encodeRecord({ ...record, secret: seal.close(JSON.stringify(pick(sealed)), aboutOf(key, record)) });
    },
    decode(key, text) {
      try {
        const record = decodeRecord<UpstreamRecord>(key, text);
        const { revision, removed, options } = record;
        if (!Number.isSafeInteger(revision)) throw damaged(key);
        if (removed) return { kind: 'removed', revision };
        if (options?.['key'] !== key) throw damaged(key);
        return decodeOptions(key, record);
      } catch (error) {
        return { kind: 'unusable', revision: 0, lost: [], error: isProxyCacheError(error) ? error : damaged(key) };
      }
    },
  };
}

/** What a secret belongs to: whoever can write the store must not lead it elsewhere. */
function aboutOf(key: string, { revision, options, kept = [], sealed }: UpstreamRecord): string {
  return JSON.stringify([key, revision, options, kept, sealed]);
}

const damaged = (key: string) =>
  new ProxyCacheError(
    'storage-damaged',
    `the record of upstream ${key} is damaged; remove the upstream and add it again`,
  );

const unstorable = (name: string, expected: string) =>
  new ProxyCacheError(
    'invalid-options',
    `upstream.${name}: expected ${expected}, as persistUpstreams is set; or auth: { reference: NAME }, which persistUpstreams.secretOf resolves`,
  );

function hasFunction(value: unknown): boolean {
  if (typeof value === 'function') return true;
  return typeof value === 'object' && value !== null && Object.values(value).some(hasFunction);
}

// JSON has no infinity, and a duration may be one.
const endless = { endless: true };

function stored(value: unknown): unknown {
  if (value === Number.POSITIVE_INFINITY) return endless;
  if (Array.isArray(value)) return value.map(stored);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, stored(one)]));
}

function revive(value: unknown): unknown {
  if (isDeepStrictEqual(value, endless)) return Number.POSITIVE_INFINITY;
  if (Array.isArray(value)) return value.map(revive);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, revive(one)]));
}
