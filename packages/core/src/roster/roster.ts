import { ProxyCacheError } from '../runtime/errors.ts';
import { invalidOption } from '../runtime/expect-option.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import type { Book } from './book.ts';
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
  observe(event: RosterEvent): void;
}

export function createRoster(parts: RosterParts): Roster {
  const { live, book, given, check, observe } = parts;
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
      commit = live.prepare(key, entry);
      return entry;
    });
    commit?.();
    observe({ type: 'upstream-changed', upstream: key, change: told, origin: 'here' });
  }

  return {
    list() {
      const shown: UpstreamSummary[] = [];
      for (const [key, entry] of live.entries()) {
        if (entry.kind !== 'removed') shown.push(summaryOf(key, entry, given.has(key) ? 'options' : 'added'));
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
}

function expectKnown(key: string, entry: Entry | undefined): Exclude<Entry, { kind: 'removed' }> {
  if (entry && entry.kind !== 'removed') return entry;
  throw new ProxyCacheError('name-unknown', `${JSON.stringify(key)} is no upstream's key`);
}
