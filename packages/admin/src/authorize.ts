import { type AccessRequest, type Clock, isProxyCacheError, ProxyCacheError } from '@proxycache/core';
import { whyNotLoopback } from './loopback.ts';

/** What {@link AuthorizeAdmin} is asked. */
export interface AdminQuestion {
  /** As the OpenAPI document names it: `upstreams.list`. `undefined`: there is none of this path and method. */
  operation: string | undefined;
  method: string;
  /** Below the version: `/upstreams/docker-hub`, percent-encoding untouched. */
  path: string;
  /** Whether it changes something, or has others asked something. */
  write: boolean;
  request: AccessRequest;
}

/**
 * Says whether a request may be carried out, before anything else is done about it. A ProxyCacheError that it throws is told
 * (`unauthenticated`: 401, with `Bearer` as the way); whatever else it throws refuses the request with 503.
 */
export type AuthorizeAdmin = (question: AdminQuestion) => boolean | Promise<boolean>;

/** @throws ProxyCacheError `denied`, `access-failed`, and what the function throws of these */
export async function authorized(
  authorize: 'loopback-only' | AuthorizeAdmin,
  question: AdminQuestion,
  settings: { clock: Clock; withinMs: number; onError(error: unknown): void },
): Promise<void> {
  if (authorize === 'loopback-only') {
    const reason = whyNotLoopback(question.request);
    if (reason !== undefined) throw new ProxyCacheError('denied', `only for users of this machine: ${reason}`);
    return;
  }
  // Only `true`: what a function forgot to return lets nobody in.
  if ((await verdictOf(authorize, question, settings)) !== true)
    throw new ProxyCacheError('denied', 'authorize does not allow this');
}

async function verdictOf(
  authorize: AuthorizeAdmin,
  question: AdminQuestion,
  { clock, withinMs, onError }: { clock: Clock; withinMs: number; onError(error: unknown): void },
): Promise<unknown> {
  try {
    return await inTime(async () => authorize(question), clock, withinMs);
  } catch (error) {
    if (isProxyCacheError(error)) throw error;
    onError(error);
    throw new ProxyCacheError('access-failed', 'authorize failed; its host is told why', { cause: error });
  }
}

async function inTime(ask: () => Promise<unknown>, clock: Clock, ms: number): Promise<unknown> {
  let cancel = (): void => undefined;
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(ms, () => reject(new ProxyCacheError('access-failed', `authorize took longer than ${ms} ms`)));
  });
  try {
    return await Promise.race([ask(), late]);
  } finally {
    cancel();
  }
}
