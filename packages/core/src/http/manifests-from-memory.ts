import type { ManifestAnswer } from '../pull/answer.ts';
import type { HeldManifest, HeldManifests } from '../pull/held-manifests.ts';
import type { Prefetch } from '../pull/prefetch.ts';
import type { Clock } from '../runtime/clock.ts';
import { keepText } from '../runtime/kept-texts.ts';
import { ageOf } from './answer-headers.ts';
import type { RequestEvent } from './events.ts';
import { type ContentRoute, createKnownUrls, type KnownUrl, type KnownUrlsParts } from './known-urls.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';
import { respondManifest } from './respond.ts';
import { wantOf } from './route.ts';

/** What answering from memory takes. */
export interface ManifestsFromMemoryParts extends KnownUrlsParts {
  heldManifests: HeldManifests;
  prefetch: Pick<Prefetch, 'served'>;
  publicContent: boolean;
  clock: Clock;
  observe(event: RequestEvent): void;
}

interface ManifestContent {
  reference: string;
  find: HeldManifest;
}

/** What was answered to a request without conditions, and what it depends on beside its manifest. */
interface Answered {
  age: number | undefined;
  ns: string | undefined;
  response: HttpResponse & { body: Buffer | null };
}

/**
 * Answers with manifests that are in memory, as `handle` would, in one go. What cannot be answered so, errors too, is left
 * to `handle`, and not told to the observer.
 */
export function createManifestsFromMemory(parts: ManifestsFromMemoryParts): NonNullable<Handle['fromMemory']> {
  const { clock, publicContent } = parts;
  const urls = createKnownUrls<ContentRoute<'manifest'>, ManifestContent>(parts, 'manifest', (target, route) => {
    const { reference } = route;
    const text = reference.kind === 'tag' ? reference.tag : reference.digest;
    return { reference: text, find: parts.heldManifests(target, reference) };
  });
  // The last responses, for as long as what they answer with is in memory: they are not what keeps it there.
  const last = { GET: new WeakMap<ManifestAnswer, Answered>(), HEAD: new WeakMap<ManifestAnswer, Answered>() };

  const buffers = new WeakMap<Uint8Array, Buffer>();

  /** Of any other array Node makes one at each write. The same for all answers with these bytes. */
  function bufferOf(bytes: Uint8Array): Buffer {
    const buffer = buffers.get(bytes) ?? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    buffers.set(bytes, buffer);
    return buffer;
  }

  function respond(
    { ns }: KnownUrl<ManifestContent>,
    manifest: ManifestAnswer,
    request: HttpRequest,
    now: number,
  ): HttpResponse {
    const options = { now, ns, publicContent };
    if (request.headers.get('if-none-match') !== null) return respondManifest(manifest, request, options);
    const answered = last[request.method === 'HEAD' ? 'HEAD' : 'GET'];
    const age = ageOf(manifest, now);
    const before = answered.get(manifest);
    // What is asked for again and again.
    if (before?.response.body) keepText(before.response.body);
    if (before && before.age === age && before.ns === ns) return before.response;
    const { status, headers, body } = respondManifest(manifest, request, options);
    const sent = body instanceof Uint8Array ? bufferOf(body) : null;
    const response = Object.freeze({ status, headers: Object.freeze(headers), body: sent });
    answered.set(manifest, { age, ns, response });
    return response;
  }

  return (request) => {
    const { method, url } = request;
    if (method !== 'GET' && method !== 'HEAD') return undefined;
    const startedAt = clock.monotonic();
    const known = urls.find(request);
    const now = clock.now();
    const manifest = known?.content.find(wantOf(request), now);
    if (!known || !manifest) return undefined;
    urls.keep(url, known);
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
      reference: known.content.reference,
      cacheStatus: manifest.cacheStatus,
      status: response.status,
      // One from memory is in one piece.
      bytes: (response.body as Uint8Array | null)?.byteLength ?? 0,
      durationMs: clock.monotonic() - startedAt,
    });
    return response;
  };
}
