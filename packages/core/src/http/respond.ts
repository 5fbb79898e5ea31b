import { mediaTypes } from '../oci/media-type.ts';
import { type BlobAnswer, type ManifestAnswer, unverifiedDetail } from '../pull/answer.ts';
import { begun } from '../runtime/bytes.ts';
import {
  type AnswerOptions,
  ageOf,
  baseHeaders,
  cacheStatusHeader,
  changingContent,
  etagOf,
  immutableContent,
  matchesEtag,
  unkeptContent,
  warningHeader,
} from './answer-headers.ts';
import { type BodyOver, bodyOf, createBody } from './body.ts';
import { writeError } from './error-response.ts';
import type { HttpRequest, HttpResponse } from './message.ts';
import { contentRange, createMultipart } from './multipart.ts';

/** A manifest, its headers alone on HEAD, or 304 when the client has it. */
export function respondManifest(answer: ManifestAnswer, request: HttpRequest, options: AnswerOptions): HttpResponse {
  const { descriptor, bytes, byTag } = answer;
  const etag = etagOf(descriptor.digest);
  const headers = baseHeaders(options.ns);
  headers['docker-content-digest'] = descriptor.digest;
  headers['etag'] = etag;
  headers['cache-control'] = byTag ? changingContent : immutableContent(options.publicContent);
  headers['cache-status'] = cacheStatusHeader(answer.cacheStatus);
  const age = ageOf(answer, options.now);
  if (age !== undefined) headers['age'] = String(age);
  if (answer.warning !== undefined) headers['warning'] = warningHeader(answer.warning);
  if (matchesEtag(request.headers.get('if-none-match'), etag)) return { status: 304, headers, body: null };

  headers['content-type'] = descriptor.mediaType;
  headers['content-length'] = String(bytes?.byteLength ?? descriptor.size);
  if (request.method === 'HEAD') return { status: 200, headers, body: null };
  if (bytes === undefined) throw new TypeError('a manifest that is only known was given as the answer to a GET');
  return { status: 200, headers, body: bytes };
}

/**
 * A blob, one or several parts of it, its headers alone on HEAD, 304 when the client has it, or 416 when there is no
 * such part. The answer is closed: by the body when it is over, or here when there is none.
 */
export async function respondBlob(
  answer: BlobAnswer,
  request: HttpRequest,
  options: AnswerOptions & { over?: BodyOver | undefined },
): Promise<HttpResponse> {
  const { digest, size } = answer;
  const { over } = options;
  const headers = blobHeaders(answer, options);
  if (matchesEtag(request.headers.get('if-none-match'), etagOf(digest))) {
    await answer.close();
    const { 'content-type': _, ...others } = headers;
    return { status: 304, headers: others, body: null };
  }
  if (request.method === 'HEAD') {
    await answer.close();
    if (size !== undefined) headers['content-length'] = String(size);
    return { status: 200, headers, body: null };
  }
  const { parts } = answer;
  const elsewhere = parts === undefined || parts.length === 1 ? await answer.elsewhere?.() : undefined;
  if (elsewhere !== undefined) return sendElsewhere(answer, headers, elsewhere);
  if (parts === undefined) {
    const piece = await answer.piece?.();
    if (!piece) return sendBlob(answer, { status: 200, headers, length: size, open: () => answer.read(), over });
    headers['content-length'] = String(piece.byteLength);
    return { status: 200, headers, body: bodyOf(piece, { close: () => answer.close(), over }) };
  }
  const [part, ...others] = parts;
  if (part === undefined) return refuseRange(answer, request, options);
  if (others.length > 0) {
    const multipart = createMultipart({ digest, size, parts, read: (wanted) => answer.read(wanted) });
    headers['content-type'] = multipart.contentType;
    return sendBlob(answer, { status: 206, headers, length: multipart.length, open: multipart.open, over });
  }
  headers['content-range'] = contentRange(part, size);
  const length = part.to - part.from + 1;
  return sendBlob(answer, { status: 206, headers, length, open: () => answer.read(part), over });
}

/** Those of every answer with a blob, or a part of it. */
export function blobHeaders(
  { digest, cacheStatus }: Pick<BlobAnswer, 'digest' | 'cacheStatus'>,
  { ns, publicContent }: Omit<AnswerOptions, 'now'>,
): Record<string, string> {
  const headers = baseHeaders(ns);
  headers['docker-content-digest'] = digest;
  headers['etag'] = etagOf(digest);
  headers['accept-ranges'] = 'bytes';
  headers['cache-control'] = cacheStatus.detail === unverifiedDetail ? unkeptContent : immutableContent(publicContent);
  headers['cache-status'] = cacheStatusHeader(cacheStatus);
  headers['content-type'] = mediaTypes.blob;
  return headers;
}

/** The client asks there for the range that it asked for here (RFC 9110 15.4.8). Who holds the URL may read by it: nobody keeps it. */
async function sendElsewhere(
  answer: BlobAnswer,
  headers: Record<string, string>,
  location: string,
): Promise<HttpResponse> {
  await answer.close();
  const { 'content-type': _, ...others } = headers;
  const moved = { ...others, location, 'cache-control': unkeptContent, 'content-length': '0' };
  return { status: 307, headers: moved, body: null };
}

/** What fails before the first byte is here is refused with its own status, not with a broken body. */
async function sendBlob(
  answer: BlobAnswer,
  sent: {
    status: number;
    headers: Record<string, string>;
    length: number | undefined;
    open: () => ReturnType<BlobAnswer['read']>;
    over: BodyOver | undefined;
  },
): Promise<HttpResponse> {
  const { status, headers, length, open, over } = sent;
  if (length !== undefined) headers['content-length'] = String(length);
  const body = await begun(createBody({ open, length, close: () => answer.close(), over }));
  return { status, headers, body };
}

// RFC 9110 15.5.17: a 416 tells the size. Without one there is nothing that Content-Range could say.
async function refuseRange(answer: BlobAnswer, request: HttpRequest, options: AnswerOptions): Promise<HttpResponse> {
  await answer.close();
  const headers: Record<string, string> = {
    ...baseHeaders(options.ns),
    'accept-ranges': 'bytes',
    'cache-status': cacheStatusHeader(answer.cacheStatus),
  };
  if (answer.size !== undefined) headers['content-range'] = `bytes */${answer.size}`;
  const extent = answer.size === undefined ? '' : ` of ${answer.size} bytes`;
  const message = `none of the ranges asked for lies within this blob${extent}`;
  return writeError(request, { status: 416, headers, error: { code: 'RANGE_INVALID', message } });
}
