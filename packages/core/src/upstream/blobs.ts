import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts';
import { type Bytes, bytesOf } from '../runtime/bytes.ts';
import type { Slabs } from '../runtime/slabs.ts';
import { parseContentRange, parseUnsatisfied } from './content-range.ts';
import { headerOf, type ResponseHeaders } from './exchange.ts';
import { letGo } from './let-go.ts';
import { saidLength } from './manifest-answer.ts';
import { isHtml } from './own-voice.ts';
import type { Answer, Ask, Question } from './question.ts';
import { interpretHeadRefusal, interpretRefusal } from './refusal.ts';
import type { SaidOfBlob } from './said-of-blob.ts';
import type { FetchedBlob, Query, Reply, Upstream } from './upstream.ts';
import { UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

/** The part of an upstream that is about blobs. */
export type Blobs = Pick<Upstream, 'statBlob' | 'fetchBlob'>;

type BlobQuery = Query & { digest: Digest };
type RangeQuery = BlobQuery & { from: number; to?: number; ifMatch?: string; slabs?: Slabs };

/** Makes the part of an upstream that asks for blobs. Their bytes are verified by whoever takes them in. */
export function createBlobs(ask: Ask, options: { key: string; markers: readonly string[] }): Blobs {
  const { key, markers } = options;

  const contextOf = ({ repository, digest }: BlobQuery) => ({ key, subject: `${repository}@${digest}`, markers });

  function fail(query: BlobQuery, code: UpstreamErrorCode, why: string): UpstreamError {
    return new UpstreamError(code, `${key} ${why} for ${contextOf(query).subject}`, { upstream: key });
  }

  function send(
    method: 'GET' | 'HEAD',
    query: BlobQuery,
    { headers = {}, ...body }: Partial<Pick<Question, 'headers' | 'long' | 'slabs' | 'queued'>> = {},
  ): Promise<Answer> {
    const { repository, digest, scope, caller, deadlineAt, signal } = query;
    return ask({
      operation: method === 'HEAD' ? 'head' : 'blob',
      method,
      path: `${repository}/blobs/${digest}`,
      headers,
      subject: contextOf(query).subject,
      repository,
      scope,
      caller,
      ...body,
      deadlineAt,
      signal,
    });
  }

  const fetch = (query: RangeQuery, headers: Record<string, string>) =>
    send('GET', query, {
      headers,
      long: true,
      slabs: query.slabs,
      // Whoever asks again by this query has as much time left as it.
      queued(waitedMs) {
        query.deadlineAt += waitedMs;
      },
    });

  function refusePages(answer: Answer, query: BlobQuery): void {
    if (!isHtml(answer.headers)) return;
    letGo(answer);
    throw fail(query, 'foreign-answer', 'answered with a web page');
  }

  function sizeOf(answer: Answer, query: BlobQuery): Reply<SaidOfBlob> {
    refusePages(answer, query);
    const said = headerOf(answer.headers, 'docker-content-digest');
    if (answer.fromOwnOrigin && said !== undefined && said !== query.digest) {
      throw fail(query, 'digest-mismatch', 'answered with another digest');
    }
    const length = saidLength(answer.headers);
    // Some front ends say 0 to every HEAD.
    const size = length === 0 && !isEmpty(query.digest) ? undefined : length;
    return { kind: 'found', value: { ...(size !== undefined && { size }), named: said === query.digest } };
  }

  async function whole(query: RangeQuery): Promise<Reply<FetchedBlob>> {
    const answer = await fetch(query, {});
    if (answer.status !== 200) return await interpretRefusal(answer, contextOf(query));
    return fromStart(answer, query);
  }

  function fromStart(answer: Answer, query: BlobQuery): Reply<FetchedBlob> {
    refusePages(answer, query);
    return found(0, saidLength(answer.headers), answer);
  }

  function part(answer: Answer, query: RangeQuery): Reply<FetchedBlob> {
    const range = parseContentRange(headerOf(answer.headers, 'content-range'));
    const { from, to = Number.POSITIVE_INFINITY } = query;
    const length = saidLength(answer.headers);
    const fits =
      range !== undefined &&
      range.from === from &&
      range.to <= to &&
      (length === undefined || length === range.to - range.from + 1);
    if (fits) return found(from, range.total, answer);
    letGo(answer);
    throw fail(query, 'foreign-answer', 'sent another part than it was asked');
  }

  return {
    async statBlob(query) {
      const head = await send('HEAD', query);
      if (head.status === 200) return sizeOf(head, query);
      const refusal = interpretHeadRefusal(head, contextOf(query));
      if (refusal) return refusal;
      // Closed after its headers: they say all that is asked.
      const answer = await send('GET', query);
      if (answer.status !== 200) return await interpretRefusal(answer, contextOf(query));
      letGo(answer);
      return sizeOf(answer, query);
    },
    async fetchBlob(query) {
      const { from, to, ifMatch } = query;
      if (from === 0 && to === undefined) return await whole(query);
      const range = { range: `bytes=${from}-${to ?? ''}` };
      let answer = await fetch(query, ifMatch === undefined ? range : { ...range, 'if-match': ifMatch });
      // RFC 9110 13.1.1. The validator may have been another host's, a CDN's say; what counts is the digest.
      if (answer.status === 412 && ifMatch !== undefined) {
        letGo(answer);
        answer = await fetch(query, range);
      }
      const { status, headers } = answer;
      // RFC 9110 14.2: a server may ignore Range.
      if (status === 200) return fromStart(answer, query);
      if (status === 206) return part(answer, query);
      const total = status === 416 ? parseUnsatisfied(headerOf(headers, 'content-range')) : undefined;
      if (total === undefined || total > from) return await interpretRefusal(answer, contextOf(query));
      letGo(answer);
      return { kind: 'found', value: { start: from, total, body: bytesOf(new Uint8Array()) } };
    },
  };
}

/** Whether it is the digest of no bytes at all. */
function isEmpty(digest: Digest): boolean {
  return digest === digestOf(new Uint8Array(), digestAlgorithm(digest));
}

function found(start: number, total: number | undefined, { headers, body }: Answer): Reply<FetchedBlob> {
  const validator = strongValidator(headers);
  return {
    kind: 'found',
    value: { start, ...(total !== undefined && { total }), ...(validator && { validator }), body: body as Bytes },
  };
}

/**
 * An ETag that promises equal bytes (RFC 9110 8.8.1, 8.8.3). It goes back to the upstream in a header: one with other
 * characters than ASCII may have been read as others than it was sent, and could not be sent at all.
 */
function strongValidator(headers: ResponseHeaders): string | undefined {
  const tag = headerOf(headers, 'etag');
  return tag !== undefined && /^"[\x21\x23-\x7e]*"$/.test(tag) ? tag : undefined;
}
