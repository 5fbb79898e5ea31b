import { type HttpRequest, isProxyCacheError } from '@proxycache/core';
import { readBasicCredentials } from './basic-credentials.ts';
import { refuseToken, type TokenRefusal } from './token-answer.ts';

/** What a client asks a token service for. */
export interface TokenRequest {
  /** `undefined`: the client says nothing of who it is. */
  credentials: { user: string; password: string } | undefined;
  scopes: readonly string[];
  /** Whom the token is to be for; `undefined`: not said. */
  service: string | undefined;
}

/** A form of OAuth2: a name, a password and scopes, none of them longer than a header may be. */
const longestForm = 16 * 1024;
const formType = 'application/x-www-form-urlencoded';

/**
 * Reads `GET /token` with Basic credentials and `POST /token` with those in a form: both forms of the Docker token
 * specification.
 *
 * @param query what stands behind the `?`
 */
export function readTokenRequest(request: HttpRequest, query: string): Promise<TokenRequest | TokenRefusal> {
  return request.method === 'POST' ? readForm(request) : Promise.resolve(readQuery(request, query));
}

function readQuery(request: HttpRequest, query: string): TokenRequest | TokenRefusal {
  const asked = new URLSearchParams(query);
  const basic = readBasicCredentials(request.headers.get('authorization'));
  const rest = { scopes: asked.getAll('scope'), service: asked.get('service') ?? undefined };
  switch (basic.kind) {
    case 'none':
      return { credentials: undefined, ...rest };
    case 'credentials':
      return { credentials: { user: basic.user, password: basic.password }, ...rest };
    case 'foreign':
      return refuseToken('invalid_client', 'a token is given for a user name and password: expected Basic credentials');
    case 'malformed':
      return refuseToken('invalid_client', basic.message);
  }
}

async function readForm(request: HttpRequest): Promise<TokenRequest | TokenRefusal> {
  const type = request.headers.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== formType) return refuseToken('invalid_request', `expected a form: content-type ${formType}`);
  let body: Uint8Array;
  try {
    body = await request.body(longestForm);
  } catch (error) {
    if (!isProxyCacheError(error) || error.code !== 'body-too-large') throw error;
    return refuseToken('too_large', `the form is longer than ${longestForm} bytes`);
  }
  const form = new URLSearchParams(new TextDecoder().decode(body));
  const grant = form.get('grant_type');
  if (grant === 'refresh_token') {
    return refuseToken('invalid_grant', 'no refresh tokens are given here: log in again with user name and password');
  }
  if (grant !== 'password') return refuseToken('unsupported_grant_type', 'expected grant_type password');
  const user = form.get('username') ?? '';
  const password = form.get('password') ?? '';
  // As in Basic credentials (RFC 7617 2): a control character may end a password for some that compare it.
  if (user === '' || password === '' || /\p{Cc}/u.test(user + password)) {
    return refuseToken('invalid_request', 'expected username and password, not empty and without control characters');
  }
  const service = form.get('service') ?? undefined;
  return { credentials: { user, password }, scopes: form.getAll('scope'), service };
}
