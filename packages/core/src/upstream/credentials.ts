import type { Duration } from '../runtime/duration.ts';

/** What proves who we are to an upstream: for its token service or Basic, or a bearer token sent as it is. */
export type Credential = { username: string; password: string } | { token: string };

/** What a {@link CredentialProvider} is told. */
export interface CredentialQuery {
  /** The upstream's key. */
  upstream: string;
  /** Set when the credential given last was refused: a new one is wanted. */
  refused: boolean;
  signal: AbortSignal;
}

/** Gives a credential when one is needed. May cache for itself; is asked again when what it gave was refused. */
export type CredentialProvider = (query: CredentialQuery) => Promise<Credential>;

/** Gives the credential that a reference stands for. May cache for itself. @throws what says that there is none */
export type SecretOf = (reference: string, how: { signal: AbortSignal }) => Promise<Credential>;

/**
 * How we authenticate at an upstream:
 *
 * - `'anonymous'` (default), a value, or a provider function
 * - files, read again when they change (Kubernetes secrets); another user in them voids what the one before proved
 * - `helper`: the Docker credential helper protocol, `docker-credential-NAME get`
 * - `exec`: a program that prints `{"username","password"}` or `{"token"}` as JSON; asked again after `lifetime` (12 h)
 * - `reference`: what `persistUpstreams.secretOf` gives for it, asked when it is needed and again when that was refused
 *
 * A provider, a helper, a program and a reference stand for one identity each: another account that one gives voids nothing
 * that was proved before. After such a change purge the upstream, or use another reference.
 */
export type UpstreamAuth =
  | 'anonymous'
  | Credential
  | CredentialProvider
  | { usernameFile: string; passwordFile: string }
  | { helper: string }
  | { reference: string }
  | { exec: readonly [string, ...string[]]; lifetime?: Duration };
