import type { Digest } from '../oci/digest.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { discard } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { pause } from '../runtime/pause.ts';
import { byDeadline } from '../upstream/by-deadline.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { isUpstreamError, UpstreamError, type UpstreamErrorCode } from '../upstream/upstream-error.ts';
import type { IngestEvent } from './events.ts';
import { createResumePace, type ResumeLimits, type ResumeTurn } from './resume-pace.ts';

/** Asks an upstream for a blob from a byte on: each time anew, with a fresh token and by fresh redirects. */
export type FetchFrom = (from: number, signal: AbortSignal, ifMatch?: string) => Promise<Reply<FetchedBlob>>;

/** What a {@link steadyBody} is of, and how the rest of it is asked for. */
export interface SteadyRequest extends Omit<ResumeLimits, 'random'> {
  /** The upstream's key. */
  upstream: string;
  repository: string;
  digest: Digest;
  /** The first byte to give, and the last; without `to` all that there is. */
  from: number;
  to?: number | undefined;
  fetch: FetchFrom;
  /** Ends it, wherever it is. */
  signal: AbortSignal;
}

/** What a {@link steadyBody} works with. */
export interface SteadyParts {
  clock: Clock;
  observe(event: IngestEvent): void;
  /** Default: the machine's. */
  random?: () => number;
}

// What asking again does not mend.
const final: ReadonlySet<UpstreamErrorCode> = new Set([
  'credentials-rejected',
  'address-refused',
  'too-large',
  'offline',
]);

/** Whether asking again for a body, or the rest of it, mends nothing. */
export const isFinal = ({ code }: UpstreamError): boolean => final.has(code);

/**
 * One body out of as many as it takes: where one breaks off, stalls or ends early, the upstream is asked for the rest.
 * An upstream that ignores ranges is skipped through; whether the bytes are those of the digest is for the reader to see.
 * Its chunks are the reader's to keep, as those of a {@link FetchedBlob} are.
 *
 * @throws from `next()`: UpstreamError when it is given up, with what happened last as its `cause`; the signal's reason
 */
export function steadyBody(first: FetchedBlob, request: SteadyRequest, parts: SteadyParts): Bytes {
  const { upstream, repository, digest, from, to = Number.POSITIVE_INFINITY, signal } = request;
  const { clock, observe, random = Math.random } = parts;
  const pace = createResumePace(clock, { ...request, random });
  const subject = `${digest} of ${repository}`;
  const left = new AbortController();
  let either: AbortSignal | undefined;
  let source = first.body[Symbol.asyncIterator]();
  let sourceAt = first.start;
  let { total, validator } = first;
  let position = from;
  // What contradicts what was said before is believed when it is said twice: members of one registry may lag behind.
  let contradictions = 0;

  /** How far it goes, as far as anybody knows. */
  const end = () => Math.min(to + 1, total ?? Number.POSITIVE_INFINITY);
  const fail = (code: UpstreamErrorCode, why: string, status?: number) =>
    new UpstreamError(code, `${upstream} ${why}`, { upstream, ...(status !== undefined && { status }) });

  /**
   * The next bytes of the source; none: it has ended.
   *
   * @param asked what it was asked for already
   */
  async function read(asked?: Promise<IteratorResult<Uint8Array>>): Promise<Uint8Array | undefined> {
    for (let next = asked; ; next = undefined) {
      // The source of a part may be the whole, of which nobody wants the rest.
      if (position > to) return undefined;
      if (sourceAt > position) throw fail('foreign-answer', `sent another part of ${subject} than it was asked`);
      const { done, value } = await (next ?? source.next());
      if (done) return undefined;
      const chunk = value.subarray(Math.max(position - sourceAt, 0), Math.max(to + 1 - sourceAt, 0));
      sourceAt += value.byteLength;
      position += chunk.byteLength;
      if (chunk.byteLength > 0) return chunk;
    }
  }

  async function take(asked?: Promise<IteratorResult<Uint8Array>>): Promise<Uint8Array | undefined> {
    for (let next = asked; ; next = undefined) {
      let broke: unknown;
      try {
        const chunk = await read(next);
        if (chunk) return chunk;
        if (position >= end() || end() === Number.POSITIVE_INFINITY) return undefined;
        broke = fail('unreachable', `ended ${subject} after ${position} of ${end()} bytes`);
      } catch (error) {
        // Whatever befell the connection, all was here.
        if (position >= end()) return undefined;
        broke = error;
      }
      if (left.signal.aborted) return undefined;
      await close();
      await resume(broke);
    }
  }

  async function resume(broke: unknown): Promise<void> {
    either ??= AbortSignal.any([signal, left.signal]);
    for (let error = broke; ; ) {
      either.throwIfAborted();
      if (!isUpstreamError(error)) throw error;
      const turn = isFinal(error) || contradictions > 1 ? undefined : pace.next(error, position - from);
      if (!turn) throw givenUp(error);
      await pause(turn.waitMs, clock, either);
      try {
        await ask(turn, either);
        const { attempt } = turn;
        const why = (broke as UpstreamError).message;
        observe({ type: 'ingest-resumed', upstream, repository, digest, from: position, attempt, error: why });
        return;
      } catch (cause) {
        error = cause;
        // A condition must never be what keeps the rest away.
        validator = undefined;
      }
    }
  }

  /** Makes the rest the source. */
  async function ask({ deadlineAt }: ResumeTurn, ending: AbortSignal): Promise<void> {
    let asked = undefined as Promise<Reply<FetchedBlob>> | undefined;
    const late = () => fail('timeout', `did not go on with ${subject} in time`);
    const until = { deadlineAt, signal: ending };
    let reply: Reply<FetchedBlob>;
    try {
      reply = await byDeadline(until, { clock, late }, (signalOfTurn) => {
        asked = request.fetch(position, signalOfTurn, validator);
        return asked;
      });
    } catch (error) {
      asked?.then(unwanted, () => undefined);
      throw error;
    }
    const contradiction = contradictionIn(reply);
    contradictions = contradiction ? contradictions + 1 : 0;
    if (contradiction || ending.aborted || reply.kind !== 'found') {
      await unwanted(reply);
      throw contradiction ?? ending.reason;
    }
    source = reply.value.body[Symbol.asyncIterator]();
    sourceAt = reply.value.start;
    total ??= reply.value.total;
    validator = reply.value.validator ?? validator;
  }

  function contradictionIn(reply: Reply<FetchedBlob>): UpstreamError | undefined {
    if (reply.kind !== 'found') {
      const status = reply.kind === 'denied' ? reply.status : 404;
      return fail('server-error', `began to send ${subject} and then said that it is ${reply.kind}`, status);
    }
    const said = reply.value.total;
    if (said === undefined || (said === (total ?? said) && said >= position)) return undefined;
    return fail('digest-mismatch', `began to send ${total ?? `more than ${said}`} bytes of ${subject}, then ${said}`);
  }

  function givenUp(last: UpstreamError): UpstreamError {
    const { code, status, retryAt } = last;
    const message = `${upstream} broke off after ${position - from} bytes of ${subject} and did not go on: ${last.message}`;
    return new UpstreamError(code, message, {
      upstream,
      ...(status !== undefined && { status }),
      ...(retryAt !== undefined && { retryAt }),
      cause: last,
    });
  }

  async function close(): Promise<void> {
    await discard({ [Symbol.asyncIterator]: () => source });
  }

  async function finish(): Promise<IteratorReturnResult<undefined>> {
    left.abort();
    await close();
    return { done: true, value: undefined };
  }

  async function nextOrRest(
    asked?: Promise<IteratorResult<Uint8Array>>,
  ): Promise<IteratorResult<Uint8Array, undefined>> {
    try {
      const value = await take(asked);
      if (value && !left.signal.aborted) return { done: false, value };
      return await finish();
    } catch (error) {
      const wasLeft = left.signal.aborted;
      await finish();
      if (wasLeft) return { done: true, value: undefined };
      throw error;
    }
  }

  const iterator: AsyncIterator<Uint8Array, undefined> = {
    next() {
      if (left.signal.aborted) return Promise.resolve({ done: true, value: undefined });
      if (sourceAt !== position || position > to) return nextOrRest();
      // Nearly each chunk is just the next one, and passes through as it is.
      const asked = source.next();
      return asked.then(
        (result) => {
          const { byteLength } = result.value ?? nothing;
          if (byteLength === 0 || byteLength > to + 1 - position || left.signal.aborted) return nextOrRest(asked);
          sourceAt += byteLength;
          position += byteLength;
          return result as IteratorYieldResult<Uint8Array>;
        },
        () => nextOrRest(asked),
      );
    },
    return: finish,
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

const nothing = new Uint8Array();

async function unwanted(reply: Reply<FetchedBlob>): Promise<void> {
  if (reply.kind === 'found') await discard(reply.value.body);
}
