import { randomUUID } from 'node:crypto';
import { type Answer, type Exchange, type FakeHost, jsonAnswer, ociError, startFakeHost } from '@proxycache/test-kit';
import { createSigningKey } from './signing-key.ts';

/** What a client asked the token server for. */
export interface TokenRequest {
  method: string;
  /** The user of its Basic credentials, where they were right. */
  user: string | undefined;
  scopes: readonly string[];
  status: number;
}

/** A Docker token server (distribution: token authentication), which a registry trusts by its certificate. */
export interface TokenServer extends Pick<FakeHost, 'host' | 'stop' | 'on'> {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  readonly certificate: string;
  /** What it was asked since the last call. */
  takeRequests(): readonly TokenRequest[];
  /** How long tokens made from now on are good, in seconds; what it tells its clients of that is `announced`. */
  setLifetime(seconds: number, announced?: number): void;
  /** A token for these actions on a repository, whoever asks: for filling the registry. */
  issue(repository: string, actions: readonly string[]): string;
}

/** Who may have what. */
export interface TokenServerOptions {
  /** Passwords by user. A user may pull from each of `repositories`. */
  users: Readonly<Record<string, string>>;
  /** What there is, and who may pull it. Nobody gets a token for anything else. */
  repositories: Readonly<Record<string, 'public' | 'private'>>;
}

const service = 'registry.test';
const issuer = 'tokens.test';

/** Starts one. Tokens are good for 300 s. */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const key = await createSigningKey();
  const requests: TokenRequest[] = [];
  let lifetime = { actual: 300, announced: 300 };

  const tokenOf = (subject: string, access: readonly object[]) => {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, sub: subject, aud: service, jti: randomUUID(), access };
    // Distribution lets a token pass for a minute after its end, and before its begin.
    return key.signToken({ ...claims, iat: now - 120, nbf: now - 120, exp: now + lifetime.actual - 60 });
  };

  const grantsOf = (user: string | undefined, scopes: readonly string[]) =>
    scopes.flatMap((scope) => {
      const [type, name = ''] = scope.split(':');
      const visibility = options.repositories[name];
      const allowed = visibility === 'public' || (visibility === 'private' && user !== undefined);
      return allowed ? [{ type, name, actions: ['pull'] }] : [];
    });

  const answerTo = (
    { method, path, headers }: Exchange,
    scopes: readonly string[],
  ): [Answer, user?: string | undefined] => {
    // As token services without OAuth2 do: clients that tried POST go on with GET.
    if (path !== '/token' || method !== 'GET') return [ociError(404, 'UNSUPPORTED', 'GET /token is all there is')];
    const basic = basicOf(headers.authorization);
    if (basic !== undefined && options.users[basic.username] !== basic.password) {
      return [ociError(401, 'UNAUTHORIZED', 'incorrect username or password')];
    }
    const user = basic?.username;
    const token = tokenOf(user ?? '', grantsOf(user, scopes));
    return [jsonAnswer(200, { token, expires_in: lifetime.announced, issued_at: new Date().toISOString() }), user];
  };

  const host = await startFakeHost({}, (request) => {
    const scopes = request.query.getAll('scope').flatMap((scope) => scope.split(' '));
    const [answer, user] = answerTo(request, scopes);
    requests.push({ method: request.method, user, scopes, status: answer.status });
    return answer;
  });

  return {
    host: host.host,
    stop: host.stop,
    on: host.on,
    realm: `${host.url}/token`,
    service,
    issuer,
    certificate: key.certificate,
    takeRequests: () => requests.splice(0),
    setLifetime: (actual, announced = actual) => {
      lifetime = { actual, announced };
    },
    issue: (repository, actions) => tokenOf('filler', [{ type: 'repository', name: repository, actions }]),
  };
}

function basicOf(authorization = ''): { username: string; password: string } | undefined {
  const [scheme, value] = authorization.split(' ');
  if (scheme?.toLowerCase() !== 'basic' || value === undefined) return undefined;
  const text = Buffer.from(value, 'base64').toString();
  const colon = text.indexOf(':');
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
