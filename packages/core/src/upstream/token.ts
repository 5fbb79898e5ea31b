import type { Clock } from '../runtime/clock.ts';
import { createFlights } from '../runtime/collapse.ts';
import { createRecent } from '../runtime/recent.ts';
import { traceFlights } from '../runtime/trace-flights.ts';
import type { Trace } from '../runtime/tracing.ts';
import { byDeadline, type Deadline } from './by-deadline.ts';
import type { HeldCredential } from './credential-source.ts';
import { UpstreamError } from './upstream-error.ts';

/** What a token is asked for. */
export interface TokenRequest {
  realm: URL;
  service: string | undefined;
  /** `''` for no scope, as for the ping. */
  scope: string;
  /** Of the credential scope; `undefined` for anonymous. */
  held: HeldCredential | undefined;
  /** The credential scope. */
  owner: string;
}

/** What the token service said. */
export type TokenReply =
  | { kind: 'token'; token: string; cached: boolean }
  | { kind: 'denied'; status: number; message: string }
  /** 401 to the credential itself. */
  | { kind: 'refused'; host: string };

/** The tokens of one upstream. */
export interface Tokens {
  /**
   * A token, from memory while it lives. Concurrent calls for the same one ask once.
   *
   * @throws UpstreamError `token-failed`, `rate-limited`, `timeout` and what the transport throws
   */
  get(request: TokenRequest, wait: Deadline): Promise<TokenReply>;
  /** Whether there is one that lives, of the owner's latest credential. */
  has(request: Omit<TokenRequest, 'held'>): boolean;
  /** Notes that something was given for a token. */
  worked(request: TokenRequest): void;
  /** Forgets a token that was refused, and not another one that has come in its place. */
  drop(request: TokenRequest, token: string): void;
}

/** Asks the token service once. `leavesAt`: when the first who waits for it leaves (`clock.monotonic()` ms). */
export type AskTokenService = (
  request: TokenRequest,
  wait: { leavesAt: number; signal: AbortSignal },
) => Promise<{ kind: 'token'; token: string; lifetime: number } | Exclude<TokenReply, { kind: 'token' }>>;

// Some thousands of repositories at work at once; a token is a kilobyte or two.
const most = 2_000;
// Some services give a token for any password: those that nothing was given for yet push out none of the others.
const mostUntried = 500;

/** Makes the memory of one upstream's tokens: per credential, realm, service and scope. */
export function createTokens(
  askService: AskTokenService,
  { clock, key, trace }: { clock: Clock; key: string; trace?: Trace | undefined },
): Tokens {
  const tried = createRecent<string, { token: string; until: number }>(most);
  const untried = createRecent<string, { token: string; until: number }>(mostUntried);
  const flights = traceFlights(createFlights<TokenReply>(), trace, 'token');
  const generations = new Map<string, number>();

  function keyOf({ realm, service, scope, owner }: Omit<TokenRequest, 'held'>, generation: number): string {
    return JSON.stringify([owner, generation, realm.href, service, scope]);
  }

  function live(name: string): string | undefined {
    const known = tried.get(name) ?? untried.get(name);
    return known && clock.monotonic() < known.until ? known.token : undefined;
  }

  /** A changed credential voids what was had by the one before. */
  function noteGeneration({ owner, held }: TokenRequest): void {
    const generation = held?.generation ?? 0;
    // Callers have no other, and are too many to be noted.
    if ((generations.get(owner) ?? 0) === generation) return;
    generations.set(owner, generation);
    const prefix = `${JSON.stringify([owner]).slice(0, -1)},`;
    for (const tokens of [tried, untried]) {
      for (const name of tokens.keys()) if (name.startsWith(prefix)) tokens.delete(name);
    }
  }

  async function ask(request: TokenRequest, name: string, wait: Deadline): Promise<TokenReply> {
    const reply = await askService(request, { leavesAt: wait.deadlineAt, signal: wait.signal });
    if (reply.kind !== 'token') return reply;
    // A tenth early, at most half a minute: it must still be good when it arrives.
    const until = clock.monotonic() + reply.lifetime - Math.min(reply.lifetime / 10, 30_000);
    tried.delete(name);
    untried.set(name, { token: reply.token, until });
    return { kind: 'token', token: reply.token, cached: false };
  }

  return {
    async get(request, wait) {
      noteGeneration(request);
      const name = keyOf(request, request.held?.generation ?? 0);
      const known = live(name);
      if (known !== undefined) return { kind: 'token', token: known, cached: true };
      // The flight has a limit of its own; each who waits for it has another.
      const late = () =>
        new UpstreamError('timeout', `${key}: its token service gave no token in time`, {
          upstream: key,
          host: request.realm.host,
        });
      return await byDeadline(wait, { clock, late }, (signal) =>
        flights.join(name, (joint) => ask(request, name, { ...wait, signal: joint }), signal),
      );
    },
    has: (request) => live(keyOf(request, generations.get(request.owner) ?? 0)) !== undefined,
    worked(request) {
      const name = keyOf(request, request.held?.generation ?? 0);
      const known = untried.get(name);
      if (!known) return;
      untried.delete(name);
      tried.set(name, known);
    },
    drop(request, token) {
      const name = keyOf(request, request.held?.generation ?? 0);
      for (const tokens of [tried, untried]) if (tokens.get(name)?.token === token) tokens.delete(name);
    },
  };
}
