import type { Groups } from '../group/groups.ts';
import type { ManifestAnswer } from '../pull/answer.ts';
import type { HeldManifest, HeldManifests } from '../pull/held-manifests.ts';
import type { Prefetch } from '../pull/prefetch.ts';
import type { Target } from '../pull/target.ts';
import type { Clock } from '../runtime/clock.ts';
import { ageOf } from './answer-headers.ts';
import type { RequestEvent } from './events.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';
import { respondManifest } from './respond.ts';
import { parseRoute, type Route, wantOf } from './route.ts';

/** What answering from memory takes. */
export interface FromMemoryParts {
  /** Finds what a name means; `undefined`: nothing that is served here. */
  locate(route: { name: string } & Pick<Route, 'ns' | 'host'>): { target: Target; clientName: string } | undefined;
  /** Has `fn` called when {@link FromMemoryParts.locate} may give something else for a route than before. */
  whenRelocated(fn: () => void): void;
  groups: Pick<Groups, 'held'>;
  heldManifests: HeldManifests;
  prefetch: Pick<Prefetch, 'served'>;
  publicContent: boolean;
  clock: Clock;
  observe(event: RequestEvent): void;
}

/** A manifest that was answered from memory, by the URL that it was asked for by. */
interface Known {
  /** The `Host` that it was asked for at, on which it may depend what the URL means. */
  host: string | null;
  ns: string | undefined;
  target: Target;
  /** The group's key that it was asked for by, where it was one's. */
  group: string | undefined;
  reference: string;
  find: HeldManifest;
}

/** What was answered to a request without conditions, and what it depends on beside its manifest. */
interface Answered {
  age: number | undefined;
  ns: string | undefined;
  response: HttpResponse;
}

// About a kilobyte each. One that is forgotten is parsed and found again.
const mostKnown = 4096;
const longestUrl = 512;

/**
 * Answers with manifests that are in memory, as `handle` would, in one go. What cannot be answered so, errors too, is left
 * to `handle`, and not told to the observer.
 */
export function createFromMemory(parts: FromMemoryParts): NonNullable<Handle['fromMemory']> {
  const { clock, publicContent } = parts;
  const byUrl = new Map<string, Known>();
  parts.whenRelocated(() => byUrl.clear());
  // The last responses, for as long as what they answer with is in memory: they are not what keeps it there.
  const last = { GET: new WeakMap<ManifestAnswer, Answered>(), HEAD: new WeakMap<ManifestAnswer, Answered>() };

  function locate(request: HttpRequest, host: string | null): Known | undefined {
    const route = manifestRoute(request);
    const located = route && locatedOf(route);
    if (!located) return undefined;
    const { target } = located;
    const { group, holds } = 'holds' in located ? located : { group: undefined, holds: undefined };
    const { ns, reference } = route;
    const text = reference.kind === 'tag' ? reference.tag : reference.digest;
    const held = parts.heldManifests(target, reference);
    const find: HeldManifest = holds ? (want, now) => (holds() ? held(want, now) : undefined) : held;
    return { host, ns, target, group, reference: text, find };
  }

  function locatedOf(
    route: Parameters<typeof parts.locate>[0],
  ): ReturnType<typeof parts.locate> | ReturnType<typeof parts.groups.held> {
    try {
      return parts.locate(route) ?? parts.groups.held(route);
    } catch {
      // Told by whoever handles it: what may be an upstream's is no group's.
      return undefined;
    }
  }

  function keep(url: string, known: Known): void {
    if (!isPlain(url, known.ns)) return;
    if (byUrl.size >= mostKnown && !byUrl.has(url)) byUrl.delete(byUrl.keys().next().value as string);
    byUrl.set(url, known);
  }

  function respond(known: Known, manifest: ManifestAnswer, request: HttpRequest, now: number): HttpResponse {
    const options = { now, ns: known.ns, publicContent };
    if (request.headers.get('if-none-match') !== null) return respondManifest(manifest, request, options);
    const answered = last[request.method === 'HEAD' ? 'HEAD' : 'GET'];
    const age = ageOf(manifest, now);
    const before = answered.get(manifest);
    if (before && before.age === age && before.ns === known.ns) return before.response;
    const { status, headers, body } = respondManifest(manifest, request, options);
    // Of any other array Node makes a Buffer, at each write.
    const sent = body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : body;
    const response = Object.freeze({ status, headers: Object.freeze(headers), body: sent });
    answered.set(manifest, { age, ns: known.ns, response });
    return response;
  }

  return (request) => {
    const { method, url } = request;
    if (method !== 'GET' && method !== 'HEAD') return undefined;
    const startedAt = clock.monotonic();
    const host = request.headers.get('host');
    let known = byUrl.get(url);
    const isKnown = known?.host === host;
    if (!isKnown) known = locate(request, host);
    const now = clock.now();
    const manifest = known?.find(wantOf(request), now);
    if (!known || !manifest) return undefined;
    if (!isKnown) keep(url, known);
    const response = respond(known, manifest, request, now);
    if (method === 'GET' && response.status === 200) parts.prefetch.served(known.target, manifest);
    const { upstream, repository } = known.target.place;
    parts.observe({
      type: 'request',
      method,
      kind: 'manifest',
      upstream,
      repository,
      ...(known.group !== undefined && { group: known.group }),
      reference: known.reference,
      cacheStatus: manifest.cacheStatus,
      status: response.status,
      // One from memory is in one piece.
      bytes: (response.body as Uint8Array | null)?.byteLength ?? 0,
      durationMs: clock.monotonic() - startedAt,
    });
    return response;
  };
}

/** Whether a URL is as clients write it: of what can be written in many ways, only one is remembered. */
function isPlain(url: string, ns: string | undefined): boolean {
  if (url.length > longestUrl || url.includes('%')) return false;
  const mark = url.indexOf('?');
  return mark < 0 || url.slice(mark) === `?ns=${ns}`;
}

function manifestRoute(request: HttpRequest): Extract<Route, { kind: 'manifest' }> | undefined {
  // Spares the parsing of what is none; one that hides in percent-encoding is told by whoever handles it.
  if (!request.url.includes('/manifests/')) return undefined;
  try {
    const route = parseRoute(request);
    return route?.kind === 'manifest' ? route : undefined;
  } catch {
    // Told by whoever handles it.
    return undefined;
  }
}
