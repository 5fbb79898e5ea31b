import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { type ErrorCode, isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { orLate } from '../runtime/or-late.ts';
import type { AccessFailedEvent } from './events.ts';
import type { AccessRequest } from './hooks.ts';
import type { Visit } from './visit.ts';
import { withoutCredentials } from './without-credentials.ts';

/** What calling hooks takes. */
export interface HookParts {
  withinMs: number;
  clock: Clock;
  observe(event: AccessFailedEvent): void;
}

/** A hook's call. */
export interface HookCall<T> {
  hook: AccessFailedEvent['hook'];
  /** What it gives is nobody's word: `read` says what it means. */
  call(request: AccessRequest): unknown;
  /** @throws Error that says what was expected, for what is no answer */
  read(given: unknown): T;
  /** Codes by which it refuses on purpose. */
  refusesBy?: readonly ErrorCode[];
}

/**
 * What a hook says, if it says so in time.
 *
 * @param visit.request whose signal fires when nobody waits any more
 * @param client fires when the client has left
 * @throws ProxyCacheError `access-failed` when it throws, is late or gives what is no answer, so that no failure lets
 *   anybody in; what it refused by, without the request's credentials; the reason of `client`
 */
export async function askHook<T>(
  { hook, call, read, refusesBy = [] }: HookCall<T>,
  { visit, client }: { visit: Visit; client: () => AbortSignal },
  { withinMs, clock, observe }: HookParts,
): Promise<T> {
  const { request } = visit;
  try {
    const given = call(request);
    if (!isThenable(given)) return read(given);
    const late = () => Promise.reject(new Error(`not done within ${withinMs} ms`));
    return read(await abortable(orLate(Promise.resolve(given), { clock, ms: withinMs, late }), client()));
  } catch (error) {
    if (client().aborted) throw error;
    const said = error instanceof Error ? error.message : String(error);
    const shown = withoutCredentials(said, request);
    if (isProxyCacheError(error) && refusesBy.includes(error.code)) throw new ProxyCacheError(error.code, shown);
    visit.end(new Error(shown));
    observe({ type: 'access-failed', hook, error: shown });
    throw new ProxyCacheError('access-failed', 'it could not be checked who may pull this; try again shortly');
  }
}

const isThenable = (given: unknown): given is PromiseLike<unknown> =>
  typeof given === 'object' && given !== null && 'then' in given && typeof given.then === 'function';
