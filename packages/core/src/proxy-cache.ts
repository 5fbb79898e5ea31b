import { admitClients } from './admit-clients.ts';
import type { ProxyCache } from './cache-interface.ts';
import { callerKeyOf, callersOf, callerWarnings } from './callers-of.ts';
import { createScrubs } from './catalog/scrub.ts';
import { checkOptions } from './check-options.ts';
import { closeCache } from './close-cache.ts';
import { createFromCode } from './from-code.ts';
import { groupWarnings } from './group/group-warnings.ts';
import { createGroups } from './group/groups.ts';
import { accessSettings, secretOf } from './hooks-of.ts';
import { createBeside } from './http/beside.ts';
import { bounded } from './http/bounded.ts';
import { createDispatch } from './http/dispatch.ts';
import { answerFetch } from './http/fetch.ts';
import { createGate } from './http/gate.ts';
import { servePeers } from './http/serve-peers.ts';
import { untilKnown } from './http/until-known.ts';
import { createIngests } from './ingest/ingests.ts';
import { openSpool } from './ingest/spool.ts';
import { createExports } from './layout/export-layout.ts';
import { createImports } from './layout/import-layout.ts';
import { createObservers } from './observers.ts';
import { createOffload } from './offload.ts';
import { defaults, limitsOf, type ProxyCacheOptions, retentionSettings } from './options.ts';
import { createChecks } from './pull/checks.ts';
import { createContents } from './pull/contents.ts';
import { createHasImage } from './pull/has-image.ts';
import { createListReferrers } from './pull/list-referrers.ts';
import { createListRepositories } from './pull/list-repositories.ts';
import { createListTags, withoutExcludedTags } from './pull/list-tags.ts';
import { createPrefetch } from './pull/prefetch.ts';
import type { PullParts } from './pull/pull-parts.ts';
import { createPullRecords } from './pull/pull-records.ts';
import { createPulls } from './pull/pulls.ts';
import { createTagTurns } from './pull/tag-turns.ts';
import { createWarms } from './pull/warm.ts';
import type { Evict } from './retention/evict.ts';
import { createQuota, unlimited } from './retention/quota.ts';
import { createRetention } from './retention/retention.ts';
import { maxBytesOf } from './roster/entry.ts';
import { groupsOf, rosterOf, upstreamsOf } from './roster-of.ts';
import { createBuffers } from './runtime/buffers.ts';
import { systemClock } from './runtime/clock.ts';
import { expectOneOf, expectWhole } from './runtime/expect-option.ts';
import { createRunning } from './runtime/running.ts';
import { createSlabs } from './runtime/slabs.ts';
import { keepTickShape } from './runtime/tick-shape.ts';
import { createTrace } from './runtime/tracing.ts';
import { withDefaults } from './runtime/with-defaults.ts';
import { shareTransfers } from './share-transfers.ts';
import { pullStorage } from './store/pull-storage.ts';
import { timelyCoordinator } from './store/timely-coordinator.ts';
import { createUpkeep } from './store/upkeep.ts';
import { practise } from './upstream/practise.ts';
import { createUpstreamChecks } from './upstream-checks.ts';

/**
 * Makes a pull-through cache. What dead processes left in its spool is gone when it returns; no upstream is asked.
 *
 * @throws ProxyCacheError `invalid-options`, naming the path and the value; `storage-failed`
 */
export function createProxyCache(options: ProxyCacheOptions): ProxyCache {
  checkOptions(options);
  const { storage, peers, clock = systemClock } = options;
  const memory = withDefaults(defaults.memory, options.memory);
  const observers = createObservers(options.observer?.bind(options));
  const observe = observers.tell;
  const trace = options.tracing && createTrace(options.tracing);

  const callerKey = callerKeyOf(options);
  const { threads, lanes, isShared, ...hashing } = createOffload(options, observe);
  const told = { clock, observe, trace };
  let closing: Promise<void> | undefined;
  const isClosed = () => closing !== undefined;
  const crowded = (key: string) => prefetch.crowded(key);
  const { live, settingsOf, maxManifestBytes } = upstreamsOf(options, { lanes, callerKey, crowded, ...told });
  const { upstreams } = live;
  const upkeep = createUpkeep(storage);
  const { spoolDirectory: directory } = storage;
  const spool = openSpool({ directory, minFree: options.minFree, clock, beat: () => void upkeep() });
  const buffers = createBuffers(memory.buffers);
  const slabs = createSlabs(memory.buffers, { shared: isShared });
  const tickShape = keepTickShape();
  const { maxWaitingBytes } = options;
  const { metadata, uploads, storeDisk, leftovers, ...stored } = pullStorage(storage, {
    ...{ room: spool.room, minFree: options.minFree, maxWaitingBytes, maxKeptBytes: memory.blobs },
    ...told,
  });
  const limits = limitsOf(options);
  const evict: Evict = (room) => sweeps.evict(room);
  const coordinator = storage.coordinator && timelyCoordinator(storage.coordinator, told);
  const quota = limits
    ? createQuota(limits, { ...stored, metadata, evict, coordinator, ...told })
    : unlimited(stored.blobs);
  const { blobs } = quota;
  live.watch((changes) => {
    for (const [key, entry] of changes) if (entry.kind !== 'unusable') quota.bound(key, maxBytesOf(entry));
  });
  const { isWaiting } = uploads;
  const roster = rosterOf(options, { live, metadata, coordinator, isClosed, ...told });
  const { locate } = roster;
  const sharing = shareTransfers(coordinator, { directory, peers, slabs, ...told });
  const maxIngests = options.maxIngests ?? defaults.maxIngests;
  const validForMs = (key: string) => upstreams.get(key)?.linkValidForMs ?? 0;
  const { watchProofs, whenUsed, ...records } = createPullRecords({
    ...{ metadata, blobs, maxBytes: memory.manifests, maxManifestBytes, validForMs },
    ...told,
  });
  const parts: PullParts = {
    ...records,
    links: quota.links(records.links),
    roomFor: quota.room,
    ingests: createIngests({
      ...{ spool, storeDisk, blobs, isWaiting, buffers, slabs, maxIngests, sharing },
      ...{ ...hashing, ...told },
    }),
    blobs,
    buffers,
    slabs,
    clock,
    asking: createRunning(),
    checks: createChecks(),
    verifyOnRead: options.verifyOnRead ?? defaults.verifyOnRead,
    trace,
    observe,
  };

  const prefetch = createPrefetch(parts);
  const turns = coordinator && createTagTurns(parts, coordinator);
  const pulls = createPulls(parts, { turns, started: prefetch.started });
  const listReferrers = createListReferrers(parts);
  const { admission, ...clients } = admitClients(options.admission, { pulls, listReferrers, metadata, ...told });
  const listTags = createListTags(parts);
  const groups = createGroups(groupsOf(options), {
    ...{ upstreams, resolve: live.resolve, pulls, listTags, metadata, coordinator },
    ...told,
  });
  const hasImage = createHasImage(parts);
  const warms = createWarms({ ...parts, isWaiting }, clients.pulls);
  const exports = createExports(parts, warms);
  const imports = createImports(parts, maxManifestBytes);
  const scrubs = createScrubs({ blobs, metadata, ...told });
  const held = {
    ...parts,
    metadata,
    watchProofs,
    whenUsed,
    isWaiting,
    maxManifestBytes,
    upstreams,
    coordinator,
  };
  const { sweptElsewhere } = quota;
  const sweeps = createRetention(
    { ...held, marks: storage.metadata, sweptElsewhere, observe: quota.watched(observe) },
    retentionSettings(options),
  );
  const access = options.access && accessSettings(options.access);
  const ways = (route: Parameters<typeof locate>[0]) => locate(route) ?? groups.anyMember(route);
  const callers = callersOf(options, { upstreams, locate: ways, clock });
  const placeOf = (route: Parameters<typeof locate>[0]) => locate(route)?.target.place ?? groups.placeOf(route);
  const listsRepositories = options.catalog ?? defaults.catalog;
  const dispatch = createDispatch({
    locate,
    whenRelocated: live.watch,
    ...clients.pulls,
    prefetch,
    groups,
    listTags: withoutExcludedTags(listTags),
    listReferrers,
    listRepositories: listsRepositories ? createListRepositories(parts, () => upstreams.values()) : undefined,
    callers,
    publicContent: options.publicContent ?? defaults.publicContent,
    publicUrl: options.publicUrl,
    gate: access && createGate(access, { placeOf, callers, ...told }),
    ...told,
  });
  const known = options.persistUpstreams ? untilKnown(dispatch, roster.wait) : dispatch;
  const served = peers && sharing ? servePeers(known, { ...parts, ...peers, ...sharing, observe }) : known;
  const answers = bounded(served, {
    maxRequests: options.maxRequests ?? defaults.maxRequests,
    closed: isClosed,
    beside: access && createBeside(access, told),
    now: () => clock.now(),
    observe,
  });

  // Not now: whoever makes a cache goes on first.
  setImmediate(practise).unref();
  const warnings = [...callerWarnings(options), ...groupWarnings(options), ...spool.leftovers, ...leftovers];
  for (const message of warnings) observe({ type: 'warning', message });
  return {
    handle: answers.handle,
    fetch: (request, host) => answerFetch(request, answers.handle, { clock, ...host }),
    observe: observers.add,
    storedBytes: quota.storedBytes,
    groups: { pins: groups.pins, unpin: groups.unpin },
    ...createFromCode({
      locate,
      wait: roster.wait,
      groups,
      isClosed,
      isKey: (key) => live.entryOf(key) !== undefined,
      hasImage,
      pulls,
      scrubs,
      sweeps,
      warms,
      exports,
      imports,
    }),
    contents: createContents({ ...held, isClosed }),
    upstreams: {
      status: () => [...upstreams.values()].map(({ client }) => client.status()),
      ...roster.roster,
      check: createUpstreamChecks({ settingsOf, isClosed, secretOf: secretOf(options), ...told }),
    },
    close(how = {}) {
      expectWhole('close: graceMs', how.graceMs);
      expectOneOf('close: ingests', how.ingests, ['finish', 'drop']);
      const ended = { memory: [buffers, slabs, tickShape], clients: live.clients, quota, roster };
      closing ??= closeCache(
        {
          clock,
          pulls: parts,
          turns,
          answers,
          ...ended,
          prefetch,
          admission,
          groups,
          scrubs,
          sweeps,
          warms,
          exports,
          imports,
          uploads,
          upkeep,
          spool,
          threads,
        },
        how,
      );
      return closing;
    },
  };
}
