import type { ProxyCacheEvent } from './events.ts';
import { checkBesideGroups } from './group/check-groups.ts';
import { type GroupSettings, groupSettings } from './group/group-options.ts';
import { defaults, type ProxyCacheOptions, upstreamSettings } from './options.ts';
import { memoryBook } from './roster/book.ts';
import { createLiveUpstreams, type LiveUpstreams } from './roster/live-upstreams.ts';
import { createLocate, type Locate } from './roster/locate.ts';
import { createRoster, type Roster } from './roster/roster.ts';
import { checkUpstream } from './upstream/check-upstream.ts';
import type { UpstreamParts } from './upstream/client.ts';
import { shadowWarnings } from './upstream/upstream-key.ts';
import type { UpstreamOptions, UpstreamSettings } from './upstream/upstream-options.ts';

/** Which upstreams a cache has, now and as they change. */
export interface CacheRoster {
  live: LiveUpstreams;
  locate: Locate;
  roster: Roster;
  /** What holds of an upstream now, with its secrets. */
  settingsOf(key: string): UpstreamSettings | undefined;
  /** The longest manifest that one of them gave or may give. */
  maxManifestBytes(): number;
}

/** @throws ProxyCacheError `invalid-options` */
export function rosterOf(
  options: ProxyCacheOptions,
  parts: Pick<UpstreamParts, 'clock' | 'lanes' | 'trace'> & {
    callerKey: string | Uint8Array;
    crowded(key: string): void;
    isClosed(): boolean;
    observe(event: ProxyCacheEvent): void;
  },
): CacheRoster {
  const { defaultUpstream, reservedKeys = defaults.reservedKeys } = options;
  const { observe } = parts;
  const routing = { defaultUpstream, groups: groupsOf(options), reservedKeys, mayLackDefault: false };
  const live = createLiveUpstreams(options.upstreams, { ...parts, settingsOf: upstreamSettings, routing });
  const locate = createLocate(live);
  let maxManifestBytes = 0;
  const told = new Set<string>();

  /** Settings of those that can be read. */
  function known(): UpstreamSettings[] {
    return [...live.entries().values()].flatMap((entry) =>
      entry.kind === 'upstream' ? [upstreamSettings(entry.options)] : [],
    );
  }

  function look(): void {
    const upstreams = known();
    // What came while more was allowed stays readable.
    maxManifestBytes = Math.max(maxManifestBytes, ...upstreams.map((upstream) => upstream.maxManifestBytes));
    for (const message of shadowWarnings({ upstreams, defaultUpstream, reservedKeys })) {
      if (!told.has(message)) observe({ type: 'warning', message });
      told.add(message);
    }
  }

  look();
  live.watch(look);
  const roster = createRoster({
    ...{ live, reservedKeys, observe, isClosed: parts.isClosed },
    book: memoryBook(),
    given: new Set(options.upstreams.map(({ key }) => key)),
    check: (path, upstream) => checkOptionsOf(path, upstream, options),
  });

  return {
    live,
    locate,
    roster,
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

function checkOptionsOf(path: string, upstream: UpstreamOptions, { groups }: ProxyCacheOptions): void {
  checkUpstream(path, upstream, defaults.upstream);
  checkBesideGroups(path, upstream, groups);
}
