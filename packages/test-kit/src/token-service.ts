import { randomUUID } from 'node:crypto';
import { type Answer, type Exchange, jsonAnswer, ociError } from './answer.ts';

/** A user of a fake registry, and what it may pull. `repositories` default: all. */
export interface FakeUser {
  password: string;
  repositories?: readonly string[] | 'all';
}

/** How a fake token service behaves. */
export interface TokenServiceOptions {
  /** By name. Default none. */
  users?: Readonly<Record<string, FakeUser>>;
  /** Repositories that need no user. Default all. */
  public?: readonly string[] | 'all';
  /** Seconds told as `expires_in`, and kept to. Left out: nothing is told, and tokens live for 60 s. */
  expiresIn?: number;
  /** The name of the answer's field that holds the token. Default `'token'`. */
  field?: 'token' | 'access_token';
  /** Whether it speaks OAuth2 by POST too. Default false: POST is 404. */
  post?: boolean;
}

/** The world around a token service. */
export interface TokenServiceContext {
  now(): number;
  /** Whether missing repositories are refused like private ones. */
  mayGrant(repository: string): boolean;
  /** The answer where a scope is not granted; `undefined`: a token without it. */
  refuse(): Answer | undefined;
}

/** What a token is good for. */
type TokenVerdict = 'unknown' | 'expired' | { repositories: ReadonlySet<string> };

export interface TokenService {
  answer(request: Exchange): Answer;
  inspect(token: string): TokenVerdict;
  /** Makes every token given so far unknown. */
  revoke(): void;
}

const form = 'application/x-www-form-urlencoded';

/** Makes a token service (distribution-spec, token authentication): GET with Basic, POST with OAuth2. */
export function createTokenService(options: TokenServiceOptions, context: TokenServiceContext): TokenService {
  const { users = {}, field = 'token', expiresIn } = options;
  const tokens = new Map<string, { repositories: Set<string>; expiresAt: number }>();

  function mayPull(user: FakeUser | undefined, repository: string): boolean {
    const open = options.public ?? 'all';
    const own = user && (user.repositories ?? 'all');
    const listed = open === 'all' || own === 'all' || open.includes(repository) || own?.includes(repository);
    return Boolean(listed) && context.mayGrant(repository);
  }

  /** The user, `undefined` for anonymous, or `'wrong'`. */
  function userOf(name: string | undefined, password: string | undefined): FakeUser | undefined | 'wrong' {
    if (name === undefined) return undefined;
    const user = Object.hasOwn(users, name) ? users[name] : undefined;
    return user && user.password === password ? user : 'wrong';
  }

  function issue(user: FakeUser | undefined | 'wrong', scopes: readonly string[]): Answer {
    if (user === 'wrong') return ociError(401, 'UNAUTHORIZED', 'incorrect username or password');
    const asked = scopes.flatMap((scope) => scope.split(' ')).map(repositoryOf);
    const granted = asked.filter((repository) => repository !== undefined && mayPull(user, repository));
    const refusal = granted.length < asked.length ? context.refuse() : undefined;
    if (refusal) return refusal;
    const token = randomUUID();
    const expiresAt = context.now() + (expiresIn ?? 60) * 1000;
    tokens.set(token, { repositories: new Set(granted.filter((name) => name !== undefined)), expiresAt });
    return jsonAnswer(200, { [field]: token, ...(expiresIn !== undefined && { expires_in: expiresIn }) });
  }

  return {
    answer(request) {
      if (request.method === 'GET') {
        const [name, password] = basicOf(request.headers.authorization) ?? [];
        return issue(userOf(name, password), request.query.getAll('scope'));
      }
      if (request.method !== 'POST' || !options.post) return ociError(404, 'UNSUPPORTED', 'no such endpoint');
      const fields = new URLSearchParams(request.body);
      if (!request.headers['content-type']?.startsWith(form) || fields.get('grant_type') !== 'password') {
        return jsonAnswer(400, { error: 'unsupported_grant_type' });
      }
      return issue(userOf(fields.get('username') ?? '', fields.get('password') ?? ''), fields.getAll('scope'));
    },
    inspect(token) {
      const found = tokens.get(token);
      if (!found) return 'unknown';
      return context.now() < found.expiresAt ? { repositories: found.repositories } : 'expired';
    },
    revoke: () => tokens.clear(),
  };
}

/** Name and password of a Basic `Authorization` header; `undefined` for any other. */
export function basicOf(authorization: string | undefined): [name: string, password: string] | undefined {
  const match = /^basic +([a-z0-9+/=]+)$/i.exec(authorization ?? '');
  if (!match) return undefined;
  const text = Buffer.from(match[1] ?? '', 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : [text.slice(0, colon), text.slice(colon + 1)];
}

function repositoryOf(scope: string): string | undefined {
  return /^repository:(.+):(?:pull|pull,push|\*)$/.exec(scope)?.[1];
}
