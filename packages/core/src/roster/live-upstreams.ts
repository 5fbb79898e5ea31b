import { createPullUpstream } from '../pull/pull-upstream.ts';
import type { PullUpstream } from '../pull/target.ts';
import type { UpstreamParts } from '../upstream/client.ts';
import type { UpstreamMode } from '../upstream/mode.ts';
import { createResolver, type ResolvableUpstream, type Resolver } from '../upstream/resolver.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { UpstreamOptions, UpstreamSettings } from '../upstream/upstream-options.ts';
import { type Entry, ownOptions } from './entry.ts';
import { createRetiredClients } from './retired-clients.ts';
import { changedNames } from './upstream-change.ts';

/** How paths name upstreams, beside their keys and hosts. */
export interface Routing {
  defaultUpstream: string | undefined;
  /** Several upstreams as one, which stay as they are while upstreams come and go. */
  groups: readonly ResolvableUpstream[];
  reservedKeys: readonly string[];
  /** Whether the default may be one that is added later, or was removed. */
  mayLackDefault: boolean;
}

/** What {@link createLiveUpstreams} works with. */
export interface LiveUpstreamsParts extends Pick<UpstreamParts, 'clock' | 'observe' | 'lanes' | 'trace' | 'secretOf'> {
  routing: Routing;
  callerKey: string | Uint8Array;
  /** Fills in the defaults. */
  settingsOf(options: UpstreamOptions): UpstreamSettings;
  /** See {@link UpstreamParts.crowded}. */
  crowded(key: string): void;
}

/** The upstreams that there are now. */
export interface LiveUpstreams {
  /** Those that can be used, in the order of the options and then of their keys: the same map all along. */
  upstreams: ReadonlyMap<string, PullUpstream>;
  /** All that is known of keys, in the same order. */
  entries(): ReadonlyMap<string, Entry>;
  entryOf(key: string): Entry | undefined;
  /** By what they are found, those that cannot be used too. */
  routes(): readonly ResolvableUpstream[];
  resolve: Resolver['resolve'];
  /**
   * Makes ready what is to hold of some keys; nothing changes before the answer is called, which is to be done before anything
   * else is prepared. Requests that are under way end with what they began with.
   *
   * @throws ProxyCacheError `invalid-options`
   */
  prepare(changes: ReadonlyMap<string, Entry>): () => void;
  /** Has `fn` called after each change, with what has changed. */
  watch(fn: (changes: ReadonlyMap<string, Entry>) => void): void;
  /** Those in use, and those that were. */
  clients(): Iterable<Upstream>;
}

/** A key's entry and what was made of it. */
interface Member {
  entry: Entry;
  /** By which it is found; of what cannot be read none. */
  route?: ResolvableUpstream;
  upstream?: PullUpstream;
  isConnected?: () => boolean;
  /** How it is used: of all that was ever made of it, also of what is under way. */
  inUse?: { mode: UpstreamMode };
}

// Options that nothing of the client depends on: what it has learnt, and its connections, stay when they change.
const notOfClient: ReadonlySet<string> = new Set<keyof UpstreamOptions>([
  'mode',
  'library',
  'include',
  'exclude',
  'freshFor',
  'staleIfErrorFor',
  'staleWhileRevalidateFor',
  'absentFor',
  'onAbsent',
  'onDenied',
  'deniedMayMeanAbsent',
  'serveUnproven',
  'coldRange',
  'prefetch',
  'manifestWithin',
  'blobWithin',
  'resumeWithin',
  'validateWithin',
  'segments',
  'maxBytes',
]);

/** @param given the upstreams of the options @throws ProxyCacheError `invalid-options` */
export function createLiveUpstreams(given: readonly UpstreamOptions[], parts: LiveUpstreamsParts): LiveUpstreams {
  const { routing, settingsOf, crowded, ...made } = parts;
  // As those of a change are: the two are compared.
  const own = given.map(ownOptions);
  const order = new Map(own.map(({ key }, index) => [key, index]));
  const upstreams = new Map<string, PullUpstream>();
  const retired = createRetiredClients(parts.clock);
  const watchers: ((changes: ReadonlyMap<string, Entry>) => void)[] = [];
  let members = new Map<string, Member>();
  let resolver: Resolver;

  function sorted(changed: ReadonlyMap<string, Member>): Map<string, Member> {
    const place = (key: string) => order.get(key) ?? order.size;
    return new Map(
      [...changed].sort(([one], [other]) => place(one) - place(other) || (one < other ? -1 : one > other ? 1 : 0)),
    );
  }

  /** @throws ProxyCacheError `invalid-options` */
  function resolverOf(all: ReadonlyMap<string, Member>): Resolver {
    const known = routesOf(all);
    const isNamed = new Set(known.map(({ key }) => key));
    const reservedKeys = [...routing.reservedKeys, ...[...all.keys()].filter((key) => !isNamed.has(key))];
    const { defaultUpstream, groups } = routing;
    const lacksDefault = ![...known, ...groups].some(({ key }) => key === defaultUpstream);
    return createResolver({
      groups,
      upstreams: known,
      defaultUpstream: lacksDefault ? undefined : defaultUpstream,
      reservedKeys,
    });
  }

  function memberOf(entry: Entry, before: Member | undefined): Member {
    if (entry.kind === 'removed' || !entry.options) return { entry };
    const { options } = entry;
    const settings = settingsOf(options);
    const { key, hosts, library } = settings;
    const route = { key, hosts, library };
    if (entry.kind === 'unusable') return { entry, route };
    const { inUse = { mode: settings.mode } } = before ?? {};
    if (before?.upstream && before.entry.kind === 'upstream') {
      const names = changedNames(before.entry.options, options);
      if (names.every((name) => notOfClient.has(name))) {
        const upstream = createPullUpstream(settings, { ...made, before: before.upstream, inUse });
        return { ...before, entry, route, inUse, upstream };
      }
    }
    let connected = 0;
    const upstream = createPullUpstream(settings, {
      ...made,
      inUse,
      crowded: () => crowded(options.key),
      pooled: (change) => {
        connected += change;
      },
    });
    return { entry, route, inUse, upstream, isConnected: () => connected > 0 };
  }

  function show(all: Map<string, Member>, next: Resolver): void {
    members = all;
    resolver = next;
    upstreams.clear();
    for (const [key, { upstream }] of all) if (upstream) upstreams.set(key, upstream);
  }

  function replaced(before: Member | undefined, { entry, inUse, upstream }: Member): void {
    if (inUse && entry.kind === 'upstream') inUse.mode = settingsOf(entry.options).mode;
    const client = before?.upstream?.client;
    if (client && client !== upstream?.client) retired.add(client, before.isConnected ?? (() => false));
  }

  const atStart = new Map<string, Member>();
  const { defaultUpstream, groups, mayLackDefault } = routing;
  const mayLack =
    mayLackDefault && !order.has(defaultUpstream ?? '') && !groups.some(({ key }) => key === defaultUpstream);
  resolver = createResolver({
    groups,
    upstreams: own.map(settingsOf),
    defaultUpstream: mayLack ? undefined : defaultUpstream,
    reservedKeys: routing.reservedKeys,
  });
  for (const options of own) {
    atStart.set(options.key, memberOf({ kind: 'upstream', revision: 0, options }, undefined));
  }
  show(atStart, resolver);

  return {
    upstreams,
    entries: () => new Map([...members].map(([key, { entry }]) => [key, entry])),
    routes: () => routesOf(members),
    entryOf: (key) => members.get(key)?.entry,
    resolve: (route) => resolver.resolve(route),
    prepare(changes) {
      const before = members;
      const changed = new Map([...changes].map(([key, entry]) => [key, memberOf(entry, before.get(key))]));
      const all = sorted(new Map([...before, ...changed]));
      const next = resolverOf(all);
      return () => {
        show(all, next);
        for (const [key, member] of changed) replaced(before.get(key), member);
        for (const watcher of watchers) watcher(changes);
      };
    },
    watch: (fn) => void watchers.push(fn),
    *clients() {
      for (const { client } of upstreams.values()) yield client;
      yield* retired.all();
    },
  };
}

function routesOf(members: ReadonlyMap<string, Member>): readonly ResolvableUpstream[] {
  return [...members.values()].flatMap(({ route }) => route ?? []);
}
