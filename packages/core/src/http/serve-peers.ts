import type { Ingests } from '../ingest/ingests.ts';
import type { WantedOfLeader } from '../ingest/leader.ts';
import { checkPeerSignature, isPeerPath, partsOfPeerPath, peerScheme } from '../ingest/peer-signature.ts';
import { parseDigest } from '../oci/digest.ts';
import type { Buffers } from '../runtime/buffers.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { readRange } from '../runtime/read-range.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { isUpstreamError, type UpstreamError } from '../upstream/upstream-error.ts';
import { baseHeaders, unkeptContent } from './answer-headers.ts';
import { createBody } from './body.ts';
import { errorResponse, writeError } from './error-response.ts';
import type { RequestEvent } from './events.ts';
import type { Handle, HttpRequest, HttpResponse } from './message.ts';
import { parseRange } from './range.ts';

/** What other processes of the same storage are answered with. */
export interface ServePeersParts {
  /** Where this process is reached, as it tells the others. */
  url: string;
  secret: string;
  ingests: Pick<Ingests, 'find'>;
  blobs: Pick<BlobStore, 'open'>;
  /** Reads what another process of this host is bringing in: behind one port it may be asked for here. */
  ofThisHost(wanted: WantedOfLeader): Promise<FetchedBlob | undefined>;
  buffers: Buffers;
  clock: Clock;
  observe(event: RequestEvent): void;
}

/** What is there of a blob, from a byte on. */
interface Rest {
  /** Of the whole blob, where it is known. */
  total?: number | undefined;
  body: Bytes;
}

/**
 * Gives other processes that know the secret what this one is bringing in, as it comes and as far as it may leave, or has
 * just stored; all else is left to `handle`. Any blob of the store can be had with the secret, and nothing else.
 */
export function servePeers(handle: Handle, parts: ServePeersParts): Handle {
  const { url: peer, secret, ingests, blobs, ofThisHost, buffers, clock, observe } = parts;

  async function answer(request: HttpRequest, path: string, told: Partial<RequestEvent>): Promise<HttpResponse> {
    const range = request.headers.get('range') ?? '';
    const authorization = request.headers.get('authorization');
    const signed = { peer, method: request.method, path, range, authorization };
    const said = checkPeerSignature(signed, secret, clock.now());
    if (said !== 'right') {
      told.error = 'peer-unauthorized';
      return unauthorized(request, said);
    }
    const asked = partsOfPeerPath(path);
    const from = fromOf(range);
    if (!asked || from === undefined)
      throw new ProxyCacheError('unsupported', 'expected an upstream, a digest, bytes=N-');
    const { upstream } = asked;
    const digest = parseDigest(asked.digest);
    Object.assign(told, { upstream, reference: digest });
    const wanted = { upstream, digest, from, signal: request.signal };
    const rest = (await running(wanted)) ?? (await ofThisHost(wanted)) ?? (await stored(wanted));
    if (!rest) throw new ProxyCacheError('blob-unknown', `${digest} does not come in here`);
    return { status: rest.total === undefined ? 200 : 206, headers: headersOf(rest, from), body: rest.body };
  }

  async function running({ upstream, digest, from, signal }: WantedOfLeader): Promise<Rest | undefined> {
    const ingest = ingests.find(upstream, digest);
    if (!ingest) return undefined;
    const reply = await abortable(ingest.reply, signal);
    const hold = reply.kind === 'found' ? ingest.hold() : undefined;
    if (!hold) return undefined;
    const total = hold.isVerified() ? hold.received() : hold.total();
    try {
      if (total !== undefined && from >= total) return undefined;
      const to = (total ?? Number.MAX_SAFE_INTEGER) - 1;
      return { total, body: hold.follow({ part: { from, to }, total }) };
    } finally {
      // Whoever follows it holds it by itself.
      await hold.release();
    }
  }

  async function stored({ digest, from, signal }: WantedOfLeader): Promise<Rest | undefined> {
    // What no local file is has to be opened anew for a part.
    const blob = await blobs.open(digest, { forBytes: false, signal });
    const part: ByteRange = { from, to: (blob?.size ?? 0) - 1 };
    if (!blob || from > part.to) {
      await blob?.close();
      return undefined;
    }
    const total = blob.size;
    if (blob.kind === 'file') return { total, body: readRange(blob, part, buffers) };
    await blob.close();
    const opened = await blobs.open(digest, { range: part, signal });
    if (opened?.kind !== 'stream') {
      await opened?.close();
      return undefined;
    }
    return { total, body: createBody({ open: () => opened.body, length: total - from, close: () => opened.close() }) };
  }

  async function handlePeer(request: HttpRequest, path: string): Promise<HttpResponse> {
    const startedAt = clock.monotonic();
    const told: Partial<RequestEvent> = {};
    let response: HttpResponse;
    try {
      response = await answer(request, path, told);
    } catch (cause) {
      const error = request.signal.aborted
        ? new ProxyCacheError('aborted', 'the peer left', { cause })
        : causeOf(cause);
      told.error = error.code;
      response = errorResponse(error, request, { now: clock.now() });
    }
    const durationMs = clock.monotonic() - startedAt;
    observe({ type: 'request', method: request.method, kind: 'peer', ...told, status: response.status, durationMs });
    return response;
  }

  async function handleAll(request: HttpRequest): Promise<HttpResponse | undefined> {
    const [path = ''] = request.url.split('?', 1);
    if (request.method !== 'GET' || !isPeerPath(path)) return handle(request);
    return handlePeer(request, path);
  }

  return handle.fromMemory ? Object.assign(handleAll, { fromMemory: handle.fromMemory }) : handleAll;
}

/** What befell the transfer is its upstream's doing, and whoever asks looks elsewhere. */
function causeOf(cause: unknown): ProxyCacheError | UpstreamError {
  const isTold = isProxyCacheError(cause) || isUpstreamError(cause);
  return isTold ? cause : new ProxyCacheError('storage-failed', 'it cannot be read', { cause });
}

/** `bytes=N-`, and nothing else. */
function fromOf(range: string): number | undefined {
  const [spec, ...more] = parseRange(range) ?? [];
  return spec && more.length === 0 && 'from' in spec && !('to' in spec) ? spec.from : undefined;
}

function headersOf({ total }: Rest, from: number): Record<string, string> {
  return {
    ...baseHeaders(),
    'content-type': 'application/octet-stream',
    'cache-control': unkeptContent,
    'proxycache-from': String(from),
    ...(total !== undefined && {
      'content-length': String(total - from),
      'content-range': `bytes ${from}-${total - 1}/${total}`,
    }),
  };
}

function unauthorized(request: HttpRequest, said: 'late' | 'wrong'): HttpResponse {
  const message =
    said === 'late'
      ? 'the signature is older than a minute, or the clocks of the two hosts differ by more'
      : 'no signature by the secret that the caches of this storage share';
  const headers = { ...baseHeaders(), 'www-authenticate': peerScheme };
  return writeError(request, { status: 401, headers, error: { code: 'UNAUTHORIZED', message } });
}
