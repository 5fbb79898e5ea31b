import type { AccessRequest, Connection, Identity } from '../admission/asker.ts';
import type { Duration } from '../runtime/duration.ts';

export type { AccessRequest, Connection, Identity };

/**
 * Says who asks; `undefined`: the request brings no credentials.
 *
 * @throws ProxyCacheError `unauthenticated` for credentials that are wrong or expired, `too-many-requests` where they
 *   cannot be checked now; the message is told to the client. Whatever else it throws refuses the request with 503.
 */
export type Authenticate = (request: AccessRequest) => Identity | undefined | Promise<Identity | undefined>;

/**
 * What {@link Authorize} is asked. Names are those of the upstream, however the client wrote them. What is asked for through
 * a group is asked about twice, and both have to allow it: by the group's key and name, and then by those of its member.
 */
export interface AccessQuestion {
  /** `undefined`: who asks brought no credentials. */
  identity: Identity | undefined;
  /** `list`: tags, referrers, and whether `_catalog` shows the repository; `pull`: manifests and blobs. */
  action: 'pull' | 'list';
  /** The upstream's key, or the group's. */
  upstream: string;
  /** The repository at the upstream: `library/alpine`. */
  repository: string;
  /** Of a pull, and the subject whose referrers are listed. */
  tagOrDigest?: string;
  request: AccessRequest;
}

/** Whether something may be pulled; the reason is told to the client. */
export type Verdict = { allow: true } | { allow: false; reason: string };

/** Says whether something may be pulled or listed, before anything is read or fetched. Whatever it throws refuses it with 503. */
export type Authorize = (question: AccessQuestion) => Verdict | boolean | Promise<Verdict | boolean>;

/** What a 401 is about. */
export interface ChallengeQuestion {
  /** `repository:<name as the client wrote it>:pull`, `registry:catalog:*`; `undefined`: of no repository, as `/v2/`. */
  scope: string | undefined;
  /** RFC 6750 3.1: the credentials that came are wrong, or good for something else. Absent: none came. */
  error?: 'invalid_token' | 'insufficient_scope';
  request: AccessRequest;
}

/**
 * One or several values of `WWW-Authenticate` (RFC 9110 11.6.1), in the order of preference. An empty list: nothing that a
 * client could bring would help; it gets 403 instead of 401.
 */
export type Challenge = (question: ChallengeQuestion) => string | readonly string[];

/** Who may pull what. Every hook is called at most once a request, but `authorize` for a group and its member, and for each repository that `_catalog` shows. */
export interface AccessHooks {
  /** Default: nobody is somebody, and `authorize` judges by the request's context. */
  authenticate?: Authenticate;
  /** Default: whoever gets past `authenticate` may pull everything. */
  authorize?: Authorize;
  /**
   * Whether those who bring no credentials are let on to `authorize`, with identity `undefined`; `false`: they get 401.
   * Docker sends none to a mirror. Default true.
   */
  anonymous?: boolean;
  /** Default, with `authenticate`: `Basic realm="proxycache"`. */
  challenge?: Challenge;
  /** How long each call of a hook may take; a late one refuses the request with 503. Default `'5s'`. */
  within?: Duration;
  /** Whether an event `pull` tells of each request once its body is through, of refused ones too. Default true. */
  audit?: boolean;
}

/** {@link AccessHooks} with every default filled in. */
export type AccessSettings = Pick<AccessHooks, 'authenticate' | 'authorize' | 'challenge'> &
  Required<Pick<AccessHooks, 'anonymous' | 'within' | 'audit'>>;
