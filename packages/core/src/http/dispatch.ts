import type { PullEvent } from '../access/events.ts';
import type { Groups } from '../group/groups.ts';
import type { HeldBlobs } from '../pull/held-blobs.ts';
import type { ListReferrers } from '../pull/list-referrers.ts';
import type { ListRepositories } from '../pull/list-repositories.ts';
import type { ListTags } from '../pull/list-tags.ts';
import type { PullBlob } from '../pull/pull-blob.ts';
import type { PullDigest } from '../pull/pull-digest.ts';
import type { PullTag } from '../pull/pull-tag.ts';
import type { Target } from '../pull/target.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { noSpan, type Span, type Trace } from '../runtime/tracing.ts';
import { redact } from '../upstream/redact.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import { baseHeaders, etagOf } from './answer-headers.ts';
import { auditedFromMemory } from './audit.ts';
import { createBlobsFromMemory } from './blobs-from-memory.ts';
import { isStream } from './body.ts';
import type { Callers } from './callers.ts';
import { errorResponse } from './error-response.ts';
import type { HttpEvent, RequestEvent } from './events.ts';
import type { Caller, Gate } from './gate.ts';
import { createManifestsFromMemory, type ManifestsFromMemoryParts } from './manifests-from-memory.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';
import { requestedRanges } from './range.ts';
import { respondBlob, respondManifest } from './respond.ts';
import { respondCatalog, respondPing, respondReferrers, respondTags } from './respond-list.ts';
import { parseRoute, pushRefused, type Route, wantOf } from './route.ts';
import { noteAnswer, tracedFromMemory, tracedRequests } from './traced.ts';

/** The use cases, and what answering them over HTTP takes. */
export interface DispatchParts extends ManifestsFromMemoryParts {
  pullTag: PullTag;
  pullDigest: PullDigest;
  pullBlob: PullBlob;
  heldBlobs: HeldBlobs;
  listTags: ListTags;
  listReferrers: ListReferrers;
  /** `undefined`: `_catalog` is off. */
  listRepositories: ListRepositories | undefined;
  groups: Pick<Groups, 'locate' | 'member' | 'held'>;
  callers: Callers;
  publicUrl: string | undefined;
  /** `undefined`: whoever asks is let in, and nobody told. */
  gate: Gate | undefined;
  /** Default: nobody traces. */
  trace?: Trace | undefined;
  observe(event: HttpEvent | PullEvent): void;
}

type Told = Omit<RequestEvent, 'type' | 'method' | 'status' | 'durationMs' | 'bytes'>;

type NamedRoute = Extract<Route, { name: string }>;

/** A request that was let in. `caller`: who asks, where that is asked. */
interface Visit {
  told: Told;
  caller: Caller | undefined;
}

/** Answers one request of the OCI distribution API; `undefined`: not ours. Never rejects. */
export function createDispatch(parts: DispatchParts): Handle {
  const { clock, callers, publicUrl } = parts;

  async function answer(route: Route, request: HttpRequest, visit: Visit): Promise<HttpResponse> {
    const { told, caller } = visit;
    switch (route.kind) {
      case 'ping':
        await callers.ping(route, request, told);
        return respondPing(request);
      case 'upload':
        throw pushRefused();
      case 'catalog': {
        const { listRepositories } = parts;
        if (!listRepositories) throw new ProxyCacheError('unsupported', 'the catalog is not served here');
        const page = await listRepositories(route.page, { signal: request.signal, shows: caller?.shows });
        return respondCatalog(page, request, { ns: undefined, publicUrl, page: route.page });
      }
      case 'manifest':
        return answerManifest(route, request, visit);
      case 'blob':
        return answerBlob(route, request, visit);
      case 'tags': {
        const { target, clientName } = await locate(route, request, visit);
        const tags = await parts.listTags({ target, page: route.page, signal: request.signal });
        told.cacheStatus = tags.cacheStatus;
        return respondTags(tags, request, { ns: route.ns, publicUrl, clientName, page: route.page });
      }
      case 'referrers': {
        const { target } = await locate(route, request, visit);
        told.reference = route.digest;
        const referrers = await parts.listReferrers({ target, digest: route.digest, signal: request.signal });
        told.cacheStatus = referrers.cacheStatus;
        return respondReferrers(referrers, request, { ns: route.ns, artifactType: route.artifactType });
      }
    }
  }

  async function answerManifest(
    route: Extract<Route, { kind: 'manifest' }>,
    request: HttpRequest,
    visit: Visit,
  ): Promise<HttpResponse> {
    const { told, caller } = visit;
    const { target } = await locate(route, request, visit);
    const { reference } = route;
    told.reference = reference.kind === 'tag' ? reference.tag : reference.digest;
    const pull = {
      target,
      want: wantOf(request),
      asker: caller?.asker ?? { identity: undefined, request },
      signal: request.signal,
    };
    const manifest =
      reference.kind === 'tag'
        ? await parts.pullTag.pull({ ...pull, tag: reference.tag })
        : await parts.pullDigest({ ...pull, digest: reference.digest });
    told.cacheStatus = manifest.cacheStatus;
    const response = respondManifest(manifest, request, { ...termsOf(target), ns: route.ns });
    // Whoever asks with HEAD, or has it already, may want no more than that.
    if (pull.want === 'bytes' && response.status === 200) parts.prefetch.served(target, manifest);
    return response;
  }

  async function answerBlob(
    route: Extract<Route, { kind: 'blob' }>,
    request: HttpRequest,
    visit: Visit,
  ): Promise<HttpResponse> {
    const { told, caller } = visit;
    const { target } = await locate(route, request, visit);
    const { digest, ns } = route;
    told.reference = digest;
    const blob = await parts.pullBlob({
      target,
      digest,
      want: wantOf(request),
      ranges: requestedRanges(request, etagOf(digest)),
      asker: caller?.asker ?? { identity: undefined, request },
      get signal() {
        return request.signal;
      },
    });
    told.cacheStatus = blob.cacheStatus;
    const { upstream, repository } = target.place;
    const { cacheStatus } = blob;
    const over = (bytes: number, complete: boolean) =>
      parts.observe({ type: 'response-ended', kind: 'blob', upstream, repository, cacheStatus, bytes, complete });
    return await respondBlob(blob, request, { ...termsOf(target), ns, over });
  }

  /** RFC 9111 3.5: what one caller may read is in no cache for all. */
  const termsOf = ({ caller }: Target) => ({ now: clock.now(), publicContent: parts.publicContent && !caller });

  async function locate(
    route: NamedRoute,
    request: HttpRequest,
    visit: Visit,
  ): Promise<{ target: Target; clientName: string }> {
    const { told, caller } = visit;
    const direct = parts.locate(route);
    if (direct && caller) expectAsked(told, direct.target.place);
    const located = direct ?? (await ofGroup(route, request, visit));
    if (!located) {
      throw new ProxyCacheError('name-unknown', `${route.name} names no upstream of this cache; expected <key>/<name>`);
    }
    told.upstream = located.target.place.upstream;
    told.repository = located.target.place.repository;
    const target = callers.see(located.target, request);
    target.upstream.names?.check(told.repository, route.kind === 'manifest' ? route.reference : undefined);
    return { ...located, target };
  }

  /** Upstreams may have changed while a hook was asked: what it allowed is not what the name means now. */
  function expectAsked({ upstream, repository }: Told, place: Pick<Target['place'], 'upstream' | 'repository'>): void {
    if (upstream === place.upstream && repository === place.repository) return;
    const message = `what ${place.upstream} is asked for changed while it was decided who may pull it; try again`;
    throw new ProxyCacheError('access-failed', message);
  }

  /** From here on it is a request to a member of the group, and to no other. */
  async function ofGroup(route: NamedRoute, request: HttpRequest, { told, caller }: Visit) {
    const { groups } = parts;
    const located = groups.locate(route);
    if (!located) return undefined;
    const { asked, clientName } = located;
    const meant = { upstream: asked.group.key, repository: asked.repository };
    if (caller) expectAsked(told, meant);
    Object.assign(told, { ...meant, group: meant.upstream });
    const target = await groups.member(asked, route, request.signal);
    const { upstream, repository } = target.place;
    Object.assign(told, { upstream, repository });
    await caller?.goOn(route, { upstream, repository });
    return { target, clientName };
  }

  async function handle(request: HttpRequest, span: Span): Promise<HttpResponse | undefined> {
    const startedAt = clock.monotonic();
    const told: Told = { kind: 'invalid' };
    const passage = parts.gate?.arrive(request);
    let refused: ProxyCacheError | undefined;
    let response: HttpResponse;
    let route: Route | undefined;
    try {
      route = parseRoute(request);
      if (!route) return undefined;
      told.kind = route.kind;
      const caller = passage && (await passage.enter(route, told));
      response = await answer(route, request, { told, caller });
    } catch (cause) {
      const error = request.signal.aborted ? new ProxyCacheError('aborted', 'the client left', { cause }) : cause;
      const isKnown = isProxyCacheError(error) || isUpstreamError(error);
      if (isProxyCacheError(error)) refused = error;
      told.error = isKnown ? error.code : 'internal';
      if (!isKnown) told.defect = redact(error instanceof Error ? (error.stack ?? error.message) : String(error));
      // OCI distribution-spec, registry proxying: echoed where it was heeded, so that a "no" is known to be that host's.
      const ns = told.upstream === undefined ? undefined : route?.ns;
      const challenges = passage?.challenges ?? callers.challenges(told.upstream);
      const refusal = errorResponse(error, request, { now: clock.now(), challenges });
      response = { ...refusal, headers: { ...refusal.headers, ...baseHeaders(ns) } };
    }
    const durationMs = clock.monotonic() - startedAt;
    const { status, body } = response;
    const bytes = isStream(body) ? undefined : (body?.byteLength ?? 0);
    const about = { ...told, status, durationMs, ...(bytes !== undefined && { bytes }) };
    const event: RequestEvent = { type: 'request', method: request.method, ...about };
    parts.observe(event);
    if (span !== noSpan) noteAnswer(span, request, event);
    return passage && route ? passage.leave(response, { told, refused }) : response;
  }

  const { gate, trace } = parts;
  const handled: Handle = trace ? tracedRequests(trace, handle) : (request) => handle(request, noSpan);
  // What is in memory is for those who were let in.
  if (gate?.asks) return handled;
  const make = gate?.audits ? auditedFromMemory : createManifestsFromMemory;
  const manifests = trace ? tracedFromMemory(trace, parts, make) : make(parts);
  // Audits and spans last until a body is through: whoever handles it sees to that.
  if (gate?.audits || trace) return Object.assign(handled, { fromMemory: manifests });
  const blobs = createBlobsFromMemory(parts);
  return Object.assign(handled, { fromMemory: (request: HttpRequest) => manifests(request) ?? blobs(request) });
}
