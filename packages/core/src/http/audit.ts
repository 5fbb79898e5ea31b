import type { PullEvent } from '../access/events.ts';
import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { isStream } from './body.ts';
import type { RequestEvent } from './events.ts';
import { createFromMemory, type FromMemoryParts } from './from-memory.ts';
import type { Handle, HttpResponse } from './message.ts';

/** What is known of a request before its body is through. */
export type Answered = Omit<PullEvent, 'type' | 'status' | 'bytes' | 'complete' | 'durationMs'>;

/** Where audits go. */
export interface AuditParts {
  clock: Clock;
  observe(event: PullEvent): void;
}

/** The same response, which tells of the request once its body has ended or broken off. */
export function audited(
  response: HttpResponse,
  { answered, startedAt }: { answered: Answered; startedAt: number },
  { clock, observe }: AuditParts,
): HttpResponse {
  const { status, headers, body } = response;
  const tell = (bytes: number, complete: boolean) =>
    observe({ type: 'pull', ...answered, status, bytes, complete, durationMs: clock.monotonic() - startedAt });
  if (isStream(body)) return { ...response, body: counted(body, headers['content-length'], tell) };
  tell(body?.byteLength ?? 0, true);
  return response;
}

/** @param announced a body of which so much was taken is whole, also where nobody waits for its end */
function counted(body: Bytes, announced: unknown, tell: (bytes: number, complete: boolean) => void): Bytes {
  const source = body[Symbol.asyncIterator]();
  let bytes = 0;
  let isTold = false;
  const over = (ended: boolean) => {
    if (!isTold) tell(bytes, ended || String(bytes) === announced);
    isTold = true;
  };
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      try {
        const result = await source.next();
        if (!result.done) bytes += result.value.byteLength;
        else over(true);
        return result.done ? { done: true, value: undefined } : result;
      } catch (error) {
        over(false);
        throw error;
      }
    },
    async return() {
      over(false);
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** Answers from memory that are told of, too: for a cache that asks nobody who may pull. */
export function auditedFromMemory(
  parts: FromMemoryParts & { observe(event: RequestEvent | PullEvent): void },
): NonNullable<Handle['fromMemory']> {
  const { clock } = parts;
  let told: RequestEvent | undefined;
  const answer = createFromMemory({
    ...parts,
    observe(event) {
      told = event;
      parts.observe(event);
    },
  });
  return (request) => {
    const startedAt = clock.monotonic();
    const response = answer(request);
    if (!response || !told) return response;
    const { method, upstream = '', repository = '', reference = '', cacheStatus = { hit: true } } = told;
    const about = { method, upstream, repository, reference, cacheStatus };
    return audited(response, { answered: { kind: 'manifest', ...about, decision: 'allow' }, startedAt }, parts);
  };
}
