import { admitClients } from './admit-clients.ts';
import { callerKeyOf, callersOf, callerWarnings, refuseWithoutCaller } from './callers-of.ts';
import { createLinks } from './catalog/links.ts';
import { createManifests } from './catalog/manifests.ts';
import { createReferrersRecords } from './catalog/referrer-records.ts';
import { createRepositories } from './catalog/repositories.ts';
import { createScrubs, type ScrubOptions, type ScrubReport } from './catalog/scrub.ts';
import { createTagRecords } from './catalog/tag-records.ts';
import { checkOptions } from './check-options.ts';
import { type CloseOptions, closeCache } from './close-cache.ts';
import type { ProxyCacheEvent } from './events.ts';
import { createBeside } from './http/beside.ts';
import { bounded } from './http/bounded.ts';
import { createDispatch } from './http/dispatch.ts';
import { answerFetch } from './http/fetch.ts';
import { createGate } from './http/gate.ts';
import type { Handle } from './http/message.ts';
import { servePeers } from './http/serve-peers.ts';
import { createIngests } from './ingest/ingests.ts';
import { openSpool } from './ingest/spool.ts';
import type { Descriptor } from './oci/descriptor.ts';
import { parseReference } from './oci/reference.ts';
import { createOffload } from './offload.ts';
import { accessSettings, defaults, type ProxyCacheOptions, upstreamSettings } from './options.ts';
import { createChecks } from './pull/checks.ts';
import { createHasImage } from './pull/has-image.ts';
import { createListReferrers } from './pull/list-referrers.ts';
import { createListRepositories } from './pull/list-repositories.ts';
import { createListTags } from './pull/list-tags.ts';
import { createPrefetch } from './pull/prefetch.ts';
import type { PullParts } from './pull/pull-parts.ts';
import { createPullUpstream } from './pull/pull-upstream.ts';
import { createPulls } from './pull/pulls.ts';
import { createTagTurns } from './pull/tag-turns.ts';
import { type Target, targetOf } from './pull/target.ts';
import { createUsage } from './retention/usage.ts';
import { createBuffers } from './runtime/buffers.ts';
import { systemClock } from './runtime/clock.ts';
import { ProxyCacheError } from './runtime/errors.ts';
import { expectFunction, expectOneOf, expectWhole } from './runtime/expect-option.ts';
import { createSlabs } from './runtime/slabs.ts';
import { shareTransfers } from './share-transfers.ts';
import { pullStorage } from './store/pull-storage.ts';
import { timelyCoordinator } from './store/timely-coordinator.ts';
import { practise } from './upstream/practise.ts';
import { createResolver } from './upstream/resolver.ts';
import type { UpstreamStatus } from './upstream/upstream.ts';
import { shadowWarnings } from './upstream/upstream-key.ts';

/** A pull-through cache. One per process and storage; adapters mount it. */
export interface ProxyCache {
  /**
   * Answers a request; `undefined`: not a `/v2/` path, the host goes on. Never rejects for what a client sent. What is in
   * memory its `fromMemory` answers without a promise.
   */
  handle: Handle;
  /** The same for web requests: Hono, Next, Bun, tests. 404 for what is not ours. @param host.context for the hooks of `access` */
  fetch(request: Request, host?: { context?: unknown }): Promise<Response>;
  /**
   * Whether an image such as `docker-hub/library/alpine:3` would be pulled whole from here if its upstream failed now; of
   * an index, any one of its platforms. @throws ProxyCacheError for a reference that is none, `name-unknown`, `closed`
   */
  has(reference: string): Promise<boolean>;
  /** What a reference means now, by the rules of a pull (a HEAD's). @throws ProxyCacheError, UpstreamError */
  resolve(reference: string): Promise<Descriptor>;
  /** The upstreams, in the order of the option. */
  upstreams: {
    /** How each of them is doing, from memory. */
    status(): readonly UpstreamStatus[];
  };
  /**
   * Reads all that is stored, slowly and beside the pulls: takes blobs that are wrong out of sight, to be fetched again,
   * tells those that are unreadable, and removes records that cannot be decoded. One runs at a time: a call meanwhile joins it.
   *
   * @throws ProxyCacheError `storage-failed` when a store fails as a whole, `closed`, `invalid-options`; the signal's reason
   */
  scrub(options?: ScrubOptions): Promise<ScrubReport>;
  /**
   * Ends: later requests get 503, running answers may end within the grace time and are cut off then. Called again, it is
   * the same end.
   *
   * @throws ProxyCacheError `invalid-options`, at once
   */
  close(options?: CloseOptions): Promise<void>;
}

// What stays in memory of what is stored: some 700 bytes each, and an image has several links.
const mostRecords = 20_000;
const mostLinks = 50_000;
const mostReferrers = 1_000;

/**
 * Makes a pull-through cache. What dead processes left in its spool is gone when it returns; no upstream is asked.
 *
 * @throws ProxyCacheError `invalid-options`, naming the path and the value; `storage-failed`
 */
export function createProxyCache(options: ProxyCacheOptions): ProxyCache {
  checkOptions(options);
  const { storage, peers, clock = systemClock } = options;
  const memory = { ...defaults.memory, ...options.memory };
  const observe = (event: ProxyCacheEvent) => {
    try {
      options.observer?.(event);
    } catch {
      // An observer's failure is its own: it must never cost a pull.
    }
  };

  const callerKey = callerKeyOf(options);
  const { threads, lanes, isShared, ...hashing } = createOffload(options, observe);
  const upstreams = new Map(
    options.upstreams.map((given) => {
      const crowded = () => prefetch.crowded(given.key);
      const upstream = createPullUpstream(upstreamSettings(given), { clock, observe, crowded, lanes, callerKey });
      return [upstream.key, upstream] as const;
    }),
  );
  const routing = {
    upstreams: options.upstreams.map(upstreamSettings),
    defaultUpstream: options.defaultUpstream,
    reservedKeys: options.reservedKeys ?? defaults.reservedKeys,
  };
  const resolver = createResolver(routing);

  const told = { clock, observe };
  const spool = openSpool({ directory: storage.spoolDirectory, minFree: options.minFree, clock });
  const buffers = createBuffers(memory.buffers);
  const slabs = createSlabs(memory.buffers, { shared: isShared });
  const { maxWaitingBytes } = options;
  const { metadata, blobs, uploads } = pullStorage(storage, { room: spool.room, maxWaitingBytes, ...told });
  const { isWaiting } = uploads;
  const coordinator = storage.coordinator && timelyCoordinator(storage.coordinator, told);
  const sharing = shareTransfers(coordinator, { directory: storage.spoolDirectory, peers, slabs, ...told });
  const maxIngests = options.maxIngests ?? defaults.maxIngests;
  const parts: PullParts = {
    tags: createTagRecords({ metadata, ...told }, mostRecords),
    links: createLinks(
      { metadata, observe, clock, validForMs: (key) => upstreams.get(key)?.linkValidForMs ?? 0 },
      mostLinks,
    ),
    manifests: createManifests({
      blobs,
      maxBytes: memory.manifests,
      maxManifestBytes: Math.max(...routing.upstreams.map((upstream) => upstream.maxManifestBytes)),
      clock,
      observe,
    }),
    referrers: createReferrersRecords({ metadata, ...told }, { most: mostReferrers, maxBytes: memory.manifests / 4 }),
    repositories: createRepositories({ metadata, ...told }, mostRecords),
    usage: createUsage({ metadata, ...told }),
    ingests: createIngests({ ...told, spool, blobs, isWaiting, buffers, slabs, ...hashing, maxIngests, sharing }),
    blobs,
    buffers,
    slabs,
    clock,
    checks: createChecks(),
    verifyOnRead: options.verifyOnRead ?? defaults.verifyOnRead,
    observe,
  };

  function locate(route: Parameters<typeof resolver.resolve>[0]): { target: Target; clientName: string } | undefined {
    const found = resolver.resolve(route);
    const upstream = found && upstreams.get(found.candidates[0].key);
    return upstream && { target: targetOf(upstream, found.candidates[0].repository), clientName: found.clientName };
  }

  const prefetch = createPrefetch(parts);
  const turns = coordinator && createTagTurns(parts, coordinator);
  const pulls = createPulls(parts, { turns, started: prefetch.started });
  const listReferrers = createListReferrers(parts);
  const { admission, ...clients } = admitClients(options.admission, { pulls, listReferrers, metadata, ...told });
  const hasImage = createHasImage(parts);
  const scrubs = createScrubs({ blobs, metadata, ...told });
  const access = options.access && accessSettings(options.access);
  const callers = callersOf(options, { upstreams, locate, clock });
  const listsRepositories = options.catalog ?? defaults.catalog;
  let closing: Promise<void> | undefined;
  const dispatch = createDispatch({
    locate,
    ...clients.pulls,
    prefetch,
    listTags: createListTags(parts),
    listReferrers,
    listRepositories: listsRepositories ? createListRepositories(parts, [...upstreams.values()]) : undefined,
    callers,
    publicContent: options.publicContent ?? defaults.publicContent,
    publicUrl: options.publicUrl,
    gate: access && createGate(access, { locate, callers, ...told }),
    ...told,
  });
  const served = peers && sharing ? servePeers(dispatch, { ...parts, ...peers, ...sharing, observe }) : dispatch;
  const answers = bounded(served, {
    maxRequests: options.maxRequests ?? defaults.maxRequests,
    closed: () => closing !== undefined,
    beside: access && createBeside(access, told),
    now: () => clock.now(),
    observe,
  });

  function locateReference(text: string): {
    target: Target;
    reference: ReturnType<typeof parseReference>['reference'];
  } {
    if (closing !== undefined) throw new ProxyCacheError('closed', 'the cache is closed');
    const { name, reference } = parseReference(text);
    const located = locate({ name, ns: undefined, host: undefined });
    if (!located) throw new ProxyCacheError('name-unknown', `${name} names no upstream; expected <key>/<name>`);
    refuseWithoutCaller(located.target);
    return { target: located.target, reference };
  }

  // Not now: whoever makes a cache goes on first.
  setImmediate(practise).unref();
  for (const message of [...shadowWarnings(routing), ...callerWarnings(options)]) observe({ type: 'warning', message });
  return {
    handle: answers.handle,
    fetch: (request, host) => answerFetch(request, answers.handle, host?.context),
    async has(text) {
      const { target, reference } = locateReference(text);
      return hasImage({ target, reference, signal: new AbortController().signal });
    },
    async resolve(text) {
      const { target, reference } = locateReference(text);
      const pull = { target, want: 'descriptor', signal: new AbortController().signal } as const;
      const answer =
        reference.kind === 'digest'
          ? await pulls.pullDigest({ ...pull, digest: reference.digest })
          : await pulls.pullTag.pull({ ...pull, tag: reference.tag });
      return answer.descriptor;
    },
    upstreams: { status: () => [...upstreams.values()].map(({ client }) => client.status()) },
    async scrub(how = {}) {
      expectFunction('scrub: onProgress', how.onProgress);
      expectWhole('scrub: bytesPerSecond', how.bytesPerSecond, 1);
      return await scrubs.run(how);
    },
    close(how = {}) {
      expectWhole('close: graceMs', how.graceMs);
      expectOneOf('close: ingests', how.ingests, ['finish', 'drop']);
      const ended = { memory: [buffers, slabs], upstreams: upstreams.values() };
      closing ??= closeCache(
        { clock, pulls: parts, turns, answers, ...ended, prefetch, admission, scrubs, uploads, spool, threads },
        how,
      );
      return closing;
    },
  };
}
