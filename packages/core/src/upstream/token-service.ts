import { collect } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { byDeadline, type Deadline } from './by-deadline.ts';
import { type ExchangeResponse, headerOf } from './exchange.ts';
import { letGo } from './let-go.ts';
import { isHtml } from './own-voice.ts';
import { createRateLimits, parseRetryAfter } from './rate-limit.ts';
import { followRedirects, type Hop, RedirectRefused } from './redirect.ts';
import type { AskTokenService, TokenRequest } from './token.ts';
import { isTokenServiceVoice, parseTokenAnswer } from './token-answer.ts';
import type { TellRequest } from './told-request.ts';
import type { Transport } from './transport.ts';
import { UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

/** What talking to token services takes. */
export interface TokenServiceParts {
  /** The upstream's key. */
  key: string;
  clock: Clock;
  transport: Transport;
  tell: TellRequest;
}

type Wait = Deadline & { leavesAt: number };

/** `identified`: whether the credential went to who answered. */
type Answered = { response: ExchangeResponse; identified: boolean };

// The name that Docker's own tools give to the user of an identity token.
const identityTokenUser = '<token>';
const longestAnswer = 256 * 1024;
// Every pull behind it waits for this one request.
const within = 30_000;

/**
 * Makes the way in which tokens are asked for: GET with Basic, as every token service understands; POST (OAuth2) for
 * identity tokens and where GET is not known. The credential goes to paired hosts only, others are asked as nobody. A GET
 * is sent on where it is redirected to, without the credential as soon as the origin changes; a POST, which holds it, is not.
 */
export function createTokenServiceClient({ key, clock, transport, tell }: TokenServiceParts): AskTokenService {
  const limits = createRateLimits(clock);

  const fail = (
    code: UpstreamErrorCode,
    why: string,
    more: { host: string; status?: number; retryAt?: number; cause?: unknown },
  ) => new UpstreamError(code, `${key}: its token service ${why}`, { upstream: key, ...more });

  async function send({ url, headers: more }: Hop, { deadlineAt, leavesAt, signal }: Wait, form?: string) {
    const method = form === undefined ? 'GET' : 'POST';
    const headers = { accept: 'application/json', ...more };
    const body = form === undefined ? {} : { body: form };
    return await tell({ operation: 'token', method, url }, (over) =>
      transport.send({ url, method, headers, ...body, deadlineAt, leavesAt, signal, over }),
    );
  }

  async function get(first: Hop, wait: Wait): Promise<Answered> {
    let identified = false;
    try {
      const { response } = await followRedirects(first, (hop) => {
        identified = hop.headers['authorization'] !== undefined;
        return send(hop, wait);
      });
      return { response, identified };
    } catch (error) {
      if (!(error instanceof RedirectRefused)) throw error;
      throw fail(error.code, error.message, { host: first.url.host, cause: error });
    }
  }

  async function ask(request: TokenRequest, wait: Wait): Promise<Answered> {
    const { realm, service, scope, held } = request;
    const credential = transport.isPaired(realm) ? held?.credential : undefined;
    const user = credential && 'username' in credential ? credential : undefined;
    const scopes = scope.split(' ').filter((part) => part !== '');
    const post = async (fields: Record<string, string>) => {
      const form = new URLSearchParams({ ...fields, client_id: 'proxycache', scope: scopes.join(' ') });
      if (service !== undefined) form.set('service', service);
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return { response: await send({ url: realm, headers }, wait, form.toString()), identified: true };
    };
    if (user?.username === identityTokenUser) {
      return await post({ grant_type: 'refresh_token', refresh_token: user.password });
    }
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const part of scopes) url.searchParams.append('scope', part);
    const answered = await get({ url, headers: user ? { authorization: basicAuthorization(user) } : {} }, wait);
    if (!user || answered.response.status !== 405) return answered;
    letGo(answered.response);
    return await post({ grant_type: 'password', username: user.username, password: user.password });
  }

  async function exchange(request: TokenRequest, wait: Wait): ReturnType<AskTokenService> {
    const { host } = request.realm;
    // One caller's limit is not the others'.
    const limit = `${request.owner} ${host}`;
    const limitedUntil = limits.limitedUntil(limit);
    if (limitedUntil !== undefined) {
      throw fail('rate-limited', 'lately said too many requests', { host, status: 429, retryAt: limitedUntil });
    }
    const sentAt = clock.monotonic();
    const { response, identified } = await ask(request, wait);
    const { status, headers } = response;
    if (status === 429) {
      letGo(response);
      const retryAt = limits.limited(limit, sentAt, headerOf(headers, 'retry-after'));
      throw fail('rate-limited', 'says too many requests', { host, status, retryAt });
    }
    limits.passed(limit, sentAt);
    const bytes = await collect(response.body, longestAnswer);
    if (status === 200) {
      const answer = bytes && parseTokenAnswer(bytes, clock.now());
      if (answer) return { kind: 'token', ...answer };
      throw fail('token-failed', 'answered 200 without a token in it', { host, status });
    }
    if (status === 401 && identified && !isHtml(headers)) return { kind: 'refused', host };
    if ([401, 403, 404].includes(status) && isTokenServiceVoice(bytes)) {
      const unsent = request.held !== undefined && !identified;
      const why = transport.isPaired(request.realm) ? 'it redirected elsewhere' : 'its host is not among tokenHosts';
      const hint = unsent ? `; ${why}, so it was asked anonymously` : '';
      return { kind: 'denied', status, message: `its token service grants no access${hint}` };
    }
    const told = parseRetryAfter(headerOf(headers, 'retry-after'), clock.now());
    throw fail('token-failed', `answered ${status}${isHtml(headers) ? ' with a web page' : ''}`, {
      host,
      status,
      ...(told !== undefined && { retryAt: clock.now() + told }),
    });
  }

  return async (request, { leavesAt, signal }) => {
    const deadlineAt = clock.monotonic() + within;
    const late = () => fail('timeout', 'did not end its answer in time', { host: request.realm.host });
    // The body too, or one answer without an end would be waited for as long as clients keep coming.
    return await byDeadline({ deadlineAt, signal }, { clock, late }, (either) =>
      exchange(request, { deadlineAt, leavesAt, signal: either }),
    );
  };
}

/** RFC 7617 2: in UTF-8, as token services expect it. */
export function basicAuthorization({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}
