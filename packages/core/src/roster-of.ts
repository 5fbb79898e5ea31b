import type { ProxyCacheEvent } from './events.ts';
import { checkBesideGroups } from './group/check-groups.ts';
import { type GroupSettings, groupSettings } from './group/group-options.ts';
import { secretOf } from './hooks-of.ts';
import { defaults, type ProxyCacheOptions, upstreamSettings } from './options.ts';
import { type Book, memoryBook } from './roster/book.ts';
import { checkReference } from './roster/check-reference.ts';
import { ownOptions } from './roster/entry.ts';
import { followBook } from './roster/follow-book.ts';
import { createLiveUpstreams, type LiveUpstreams } from './roster/live-upstreams.ts';
import { createLocate, type Locate } from './roster/locate.ts';
import { createRoster, type Roster } from './roster/roster.ts';
import { createSeal } from './roster/seal.ts';
import { createStoredBook } from './roster/stored-book.ts';
import { createUpstreamRecords } from './roster/upstream-record.ts';
import type { Clock } from './runtime/clock.ts';
import { parseDuration } from './runtime/duration.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import { invalidOption } from './runtime/expect-option.ts';
import type { Coordinator } from './store/coordinator.ts';
import { inTurn } from './store/in-turn.ts';
import type { MetadataStore } from './store/metadata-store.ts';
import { checkUpstream } from './upstream/check-upstream.ts';
import type { UpstreamParts } from './upstream/client.ts';
import { shadowWarnings } from './upstream/upstream-key.ts';
import type { UpstreamOptions, UpstreamSettings } from './upstream/upstream-options.ts';

/** The upstreams that a cache has now. */
export interface UpstreamsNow {
  live: LiveUpstreams;
  /** What holds of an upstream now, with its secrets. */
  settingsOf(key: string): UpstreamSettings | undefined;
  /** The longest manifest that one of them gave or may give. */
  maxManifestBytes(): number;
}

/** @throws ProxyCacheError `invalid-options` */
export function upstreamsOf(
  options: ProxyCacheOptions,
  parts: Pick<UpstreamParts, 'clock' | 'lanes' | 'trace'> & {
    callerKey: string | Uint8Array;
    crowded(key: string): void;
    observe(event: ProxyCacheEvent): void;
  },
): UpstreamsNow {
  const { defaultUpstream, reservedKeys = defaults.reservedKeys, persistUpstreams } = options;
  const isKept = persistUpstreams !== undefined;
  const routing = { defaultUpstream, groups: groupsOf(options), reservedKeys, mayLackDefault: isKept };
  const live = createLiveUpstreams(options.upstreams, {
    ...parts,
    settingsOf: upstreamSettings,
    secretOf: secretOf(options),
    routing,
  });
  let maxManifestBytes = persistUpstreams ? defaults.upstream.maxManifestBytes : 0;
  const told = new Set<string>();

  function allow({ maxManifestBytes: most }: UpstreamSettings): void {
    // What came while more was allowed stays readable.
    maxManifestBytes = Math.max(maxManifestBytes, most);
  }

  function warn(): void {
    for (const message of shadowWarnings({ upstreams: live.routes(), defaultUpstream, reservedKeys })) {
      if (!told.has(message)) parts.observe({ type: 'warning', message });
      told.add(message);
    }
  }

  for (const upstream of options.upstreams) allow(upstreamSettings(upstream));
  warn();
  live.watch((changes) => {
    for (const entry of changes.values()) if (entry.kind === 'upstream') allow(upstreamSettings(entry.options));
    warn();
  });
  return {
    live,
    settingsOf(key) {
      const entry = live.entryOf(key);
      return entry?.kind === 'upstream' ? upstreamSettings(entry.options) : undefined;
    },
    maxManifestBytes: () => maxManifestBytes,
  };
}

/** The groups, with every default filled in. */
export function groupsOf({ groups = [] }: Pick<ProxyCacheOptions, 'groups'>): readonly GroupSettings[] {
  return groups.map((group) => groupSettings(group, defaults.group));
}

/** The means to change which upstreams there are, and to know. */
export interface CacheRoster {
  roster: Roster;
  locate: Locate;
  /** See {@link BookFollower.wait}. */
  wait(): Promise<void> | undefined;
  close(): Promise<void>;
}

export function rosterOf(
  options: ProxyCacheOptions,
  parts: {
    live: LiveUpstreams;
    metadata: MetadataStore;
    coordinator: Coordinator | undefined;
    clock: Clock;
    isClosed(): boolean;
    observe(event: ProxyCacheEvent): void;
  },
): CacheRoster {
  const { live } = parts;
  const groups = new Set(groupsOf(options).map(({ key }) => key));
  const given = new Map(options.upstreams.map((upstream) => [upstream.key, ownOptions(upstream)]));
  const shared = {
    ...parts,
    reservedKeys: options.reservedKeys ?? defaults.reservedKeys,
    given: new Set(given.keys()),
    check: (path: string, upstream: UpstreamOptions) => checkAdded(path, upstream, options),
  };
  const { persistUpstreams: persist } = options;
  if (!persist) {
    const { roster } = createRoster({ ...shared, book: memoryBook(), written: () => undefined });
    return {
      roster,
      locate: createLocate(live, { groups, isRead: () => true }),
      wait: () => undefined,
      close: async () => undefined,
    };
  }
  const closing = new AbortController();
  const { signal } = closing;
  const seal = persist.encryptionKey === undefined ? undefined : createSeal(persist.encryptionKey);
  const records = createUpstreamRecords(seal, (key) => given.get(key));
  const stored = createStoredBook(parts.metadata, records, signal);
  const book: Book = { change: (key, change) => inTurn(`upstreams/${key}`, () => stored.change(key, change), parts) };
  const { roster, take } = createRoster({ ...shared, book, written: () => void follower.tell() });
  let isFirst = true;
  const follower = followBook({
    ...parts,
    everyMs: parseDuration(persist.refreshEvery ?? defaults.persistUpstreams.refreshEvery),
    async read() {
      await take(() => stored.read(signal), { isFirst });
      isFirst = false;
    },
  });
  return {
    roster,
    locate: createLocate(live, { groups, isRead: follower.isRead }),
    wait: follower.wait,
    async close() {
      closing.abort(new ProxyCacheError('closed', 'the cache is closed'));
      await follower.close();
    },
  };
}

/** @throws ProxyCacheError `invalid-options` */
function checkAdded(
  path: string,
  upstream: UpstreamOptions,
  { groups, retention, persistUpstreams }: ProxyCacheOptions,
): void {
  checkUpstream(path, upstream, defaults.upstream);
  checkBesideGroups(path, upstream, groups);
  if (retention === false && upstream.maxBytes !== undefined) {
    throw invalidOption(`${path}.maxBytes`, 'none, as retention is false', upstream.maxBytes);
  }
  checkReference(path, upstream, persistUpstreams);
}
