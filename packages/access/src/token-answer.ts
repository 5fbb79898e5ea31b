import type { HttpResponse } from '@proxycache/core';
import { type AccessEntry, scopeText } from './scope.ts';

/** Why there is no token, in the words of OAuth2 (RFC 6749 5.2, RFC 8707 2). */
export type TokenError = keyof typeof statuses;

/** A refusal, with what people read of it. */
export interface TokenRefusal {
  error: TokenError;
  message: string;
}

// The code of the distribution API, which docker and podman show, beside that of OAuth2.
const statuses = {
  // 401 in either form, as docker, podman and containerd take it for wrong credentials.
  invalid_client: [401, 'UNAUTHORIZED'],
  invalid_grant: [401, 'UNAUTHORIZED'],
  invalid_request: [400, 'UNSUPPORTED'],
  invalid_scope: [400, 'UNSUPPORTED'],
  invalid_target: [400, 'UNSUPPORTED'],
  unsupported_grant_type: [400, 'UNSUPPORTED'],
  too_large: [413, 'SIZE_INVALID'],
  method: [405, 'UNSUPPORTED'],
} as const;

export const refuseToken = (error: TokenError, message: string): TokenRefusal => ({ error, message });

/** A token as clients are given it. */
export interface GivenToken {
  token: string;
  access: readonly AccessEntry[];
  /** Seconds since the epoch. */
  issuedAt: number;
  /** In seconds. */
  lifetime: number;
}

/** What docker and containers/image take for the least, whatever they are told (distribution, "expires_in"). */
const leastAnnounced = 60;

/**
 * The answer that carries a token, in both forms of the specification: `token` and `access_token`.
 *
 * A shorter life than clients believe in is told as the rest of a longer one, so that they renew it in time.
 */
export function tokenAnswer({ token, access, issuedAt, lifetime }: GivenToken): HttpResponse {
  const announced = Math.max(lifetime, leastAnnounced);
  const since = new Date((issuedAt + lifetime - announced) * 1000).toISOString().replace('.000Z', 'Z');
  return json(200, {
    token,
    access_token: token,
    token_type: 'Bearer',
    expires_in: announced,
    issued_at: since,
    scope: scopeText(access),
  });
}

/** @param service named to clients that are asked for a password */
export function refusalAnswer({ error, message }: TokenRefusal, service: string): HttpResponse {
  const [status, code] = statuses[error];
  const body = { errors: [{ code, message }], error, error_description: message };
  if (status === 405) return json(status, { errors: body.errors }, { allow: 'GET, POST' });
  if (status !== 401) return json(status, body);
  // RFC 9110 15.5.2: a 401 says how to do better.
  return json(status, body, { 'www-authenticate': `Basic realm="${service}", charset="UTF-8"` });
}

/** @param more headers; by default answers are kept by nobody (RFC 6749 5.1) */
export function json(status: number, value: unknown, more: Readonly<Record<string, string>> = {}): HttpResponse {
  const body = Buffer.from(JSON.stringify(value));
  return {
    status,
    headers: {
      'content-type': 'application/json',
      'content-length': String(body.length),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...more,
    },
    body,
  };
}
