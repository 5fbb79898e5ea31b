import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { invalidOption } from '../runtime/expect-option.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import type { Book, Written } from './book.ts';
import { type Entry, ownOptions } from './entry.ts';
import type { RosterEvent } from './events.ts';
import type { LiveUpstreams } from './live-upstreams.ts';
import { changedOptions, type UpstreamChange } from './upstream-change.ts';
import { summaryOf, type UpstreamSummary } from './upstream-summary.ts';

/** Changes which upstreams there are, while requests are served. */
export interface Roster {
  /** The upstreams as they are now, those that cannot be used too: in the order of the options, then of their keys. */
  list(): readonly UpstreamSummary[];
  /** @throws ProxyCacheError `invalid-options`, `upstream-exists`, `storage-failed`, `closed` */
  add(options: UpstreamOptions): Promise<void>;
  /** @throws ProxyCacheError `invalid-options`, `name-unknown`, `secret-required`, `storage-failed`, `closed` */
  update(key: string, change: UpstreamChange): Promise<void>;
  /** @throws ProxyCacheError `name-unknown`, `storage-failed`, `closed` */
  remove(key: string): Promise<void>;
}

/** A roster that others may write in, too. */
export interface SharedRoster {
  roster: Roster;
  /** Has hold what is written, by whomever. Rejects with what `read` rejects with. @param how.isFirst nothing of it is news */
  take(read: () => Promise<ReadonlyMap<string, Written>>, how: { isFirst: boolean }): Promise<void>;
}

/** What {@link createRoster} works with. */
export interface RosterParts {
  live: LiveUpstreams;
  book: Book;
  /** The keys of the options' upstreams. */
  given: ReadonlySet<string>;
  reservedKeys: readonly string[];
  /** @throws ProxyCacheError `invalid-options` */
  check(path: string, options: UpstreamOptions): void;
  isClosed(): boolean;
  /** Called when something was written here. */
  written(): void;
  observe(event: RosterEvent | { type: 'warning'; message: string }): void;
}

const heldAtOnce = 20;

export function createRoster(parts: RosterParts): SharedRoster {
  const { live, book, given, check, observe } = parts;
  /** What was read last of each key. */
  const texts = new Map<string, string>();
  let last: Promise<unknown> = Promise.resolve();

  /** One after the other: each goes by what the one before it has left. */
  function inTurn(work: () => Promise<void>): Promise<void> {
    if (parts.isClosed()) return Promise.reject(new ProxyCacheError('closed', 'the cache is closed'));
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  }

  async function change(
    key: string,
    told: 'added' | 'updated' | 'removed',
    next: (now: Entry | undefined) => Entry,
  ): Promise<void> {
    let commit: (() => void) | undefined;
    await book.change(key, (written) => {
      const entry = next(written ?? live.entryOf(key));
      commit = live.prepare(new Map([[key, entry]]));
      return entry;
    });
    commit?.();
    parts.written();
    observe({ type: 'upstream-changed', upstream: key, change: told, origin: 'here' });
  }

  /** What can hold of an entry that was written elsewhere, maybe by another release. */
  function usable(entry: Entry): Entry {
    try {
      if (entry.kind === 'upstream') check('upstream', entry.options);
      return entry;
    } catch (cause) {
      return unusableFor(entry, cause);
    }
  }

  /** Has hold what was written elsewhere, or as much of it as can. */
  function hold(changes: ReadonlyMap<string, Entry>, { isFirst }: { isFirst: boolean }): void {
    const before = new Map([...changes.keys()].map((key) => [key, live.entryOf(key)]));
    let commit: () => void;
    try {
      commit = live.prepare(changes);
    } catch (cause) {
      const [[key, entry] = ['', undefined], ...others] = changes;
      // Whichever it is that cannot be: each by itself.
      if (others.length > 0) for (const one of changes) hold(new Map([one]), { isFirst });
      else if (!entry || (entry.kind === 'unusable' && !entry.options)) throw cause;
      else hold(new Map([[key, unusableFor(entry, cause)]]), { isFirst });
      return;
    }
    commit();
    for (const [key, entry] of changes) {
      if (entry.kind === 'unusable') {
        observe({ type: 'upstream-unusable', upstream: key, error: entry.error.message });
      } else if (isFirst) warnOfGiven(key);
      else tellOf(key, entry, before.get(key));
    }
  }

  function warnOfGiven(key: string): void {
    if (!given.has(key)) return;
    const message = `upstream ${key} is as it was changed while the cache ran, or removed then: what the options say of it does not hold`;
    observe({ type: 'warning', message });
  }

  function tellOf(key: string, { kind }: Entry, before: Entry | undefined): void {
    const was = before && before.kind !== 'removed';
    if (kind === 'removed' && !was) return;
    const change = kind === 'removed' ? 'removed' : was ? 'updated' : 'added';
    observe({ type: 'upstream-changed', upstream: key, change, origin: 'elsewhere' });
  }

  async function take(read: () => Promise<ReadonlyMap<string, Written>>, how: { isFirst: boolean }): Promise<void> {
    const changes = new Map<string, Entry>();
    const news = [...(await read())].filter(([key, { text }]) => texts.get(key) !== text);
    for (const [key, { entry }] of news) {
      if (!isDeepStrictEqual(live.entryOf(key), entry)) changes.set(key, usable(entry));
    }
    // A client is dear to make: whoever is served meanwhile is not to wait for thousands of them.
    const all = [...changes];
    for (let from = 0; from < all.length; from += heldAtOnce) {
      if (from > 0) await setImmediate();
      hold(new Map(all.slice(from, from + heldAtOnce)), how);
    }
    for (const [key, { text }] of news) texts.set(key, text);
  }

  const roster: Roster = {
    list() {
      const shown: UpstreamSummary[] = [];
      for (const [key, entry] of live.entries()) {
        if (entry.kind !== 'removed')
          shown.push(ownOptions(summaryOf(key, entry, given.has(key) ? 'options' : 'added')));
      }
      return shown;
    },
    async add(options) {
      check('upstream', options);
      const { key } = options;
      if (parts.reservedKeys.includes(key)) {
        throw invalidOption('upstream.key', 'a key that is not one of reservedKeys', key);
      }
      const own = ownOptions(options);
      await inTurn(() =>
        change(key, 'added', (now) => {
          if (now && now.kind !== 'removed') {
            throw new ProxyCacheError(
              'upstream-exists',
              `${key} is an upstream already; update it, or remove it first`,
            );
          }
          return { kind: 'upstream', revision: (now?.revision ?? 0) + 1, options: own };
        }),
      );
    },
    async update(key, wanted) {
      await inTurn(() =>
        change(key, 'updated', (now) => {
          const known = expectKnown(key, now);
          const options = changedOptions(key, known, wanted);
          check('upstream', options);
          return { kind: 'upstream', revision: known.revision + 1, options };
        }),
      );
    },
    async remove(key) {
      await inTurn(() =>
        change(key, 'removed', (now) => ({ kind: 'removed', revision: expectKnown(key, now).revision + 1 })),
      );
    },
  };
  return { roster, take: (read, how) => inTurn(() => take(read, how)) };
}

function unusableFor({ revision }: Entry, cause: unknown): Entry {
  const error = isProxyCacheError(cause) ? cause : new ProxyCacheError('invalid-options', String(cause));
  return { kind: 'unusable', revision, lost: [], error };
}

function expectKnown(key: string, entry: Entry | undefined): Exclude<Entry, { kind: 'removed' }> {
  if (entry && entry.kind !== 'removed') return entry;
  throw new ProxyCacheError('name-unknown', `${JSON.stringify(key)} is no upstream's key`);
}
