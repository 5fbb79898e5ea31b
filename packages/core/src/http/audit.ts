import type { PullEvent } from '../access/events.ts';
import type { Clock } from '../runtime/clock.ts';
import { countedBytes } from '../runtime/counted-bytes.ts';
import { isStream } from './body.ts';
import type { RequestEvent } from './events.ts';
import { createManifestsFromMemory, type ManifestsFromMemoryParts } from './manifests-from-memory.ts';
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
  const announced = Number(headers['content-length'] ?? Number.NaN);
  if (isStream(body)) return { ...response, body: countedBytes(body, announced, tell) };
  tell(body?.byteLength ?? 0, true);
  return response;
}

/** Answers from memory that are told of, too: for a cache that asks nobody who may pull. */
export function auditedFromMemory(
  parts: ManifestsFromMemoryParts & { observe(event: RequestEvent | PullEvent): void },
): NonNullable<Handle['fromMemory']> {
  const { clock } = parts;
  let told: RequestEvent | undefined;
  const answer = createManifestsFromMemory({
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
    const { method, upstream = '', repository = '', group, reference = '', cacheStatus = { hit: true } } = told;
    const place = { upstream, repository, ...(group !== undefined && { group }) };
    const about = { method, ...place, reference, cacheStatus };
    return audited(response, { answered: { kind: 'manifest', ...about, decision: 'allow' }, startedAt }, parts);
  };
}
