import type { CacheStatus } from '../pull/answer.ts';

/** Who asked for what, whether they got it and how much of it: told once the body has ended or broken off. */
export interface PullEvent {
  type: 'pull';
  kind: 'ping' | 'catalog' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'upload';
  method: string;
  /** The name of who asked; absent: nobody that is known. */
  identity?: string;
  /** The upstream's key and the repository there, where the request named one that is served. */
  upstream?: string;
  repository?: string;
  /** The group's key, where the request named one; `upstream` is its own as long as no member is known. */
  group?: string;
  /** Tag or digest. */
  reference?: string;
  /**
   * What was decided here. `unauthenticated`: 401, also for a token that is good for something else; `failed`: a hook could
   * not say. What was allowed may have failed for other reasons, or been refused by the upstream: `status` says so.
   */
  decision: 'allow' | 'deny' | 'hold' | 'unauthenticated' | 'failed';
  /** Why not, as the client was told. */
  reason?: string;
  /** How the answer came about: a hit, or forwarded to the upstream. */
  cacheStatus?: CacheStatus;
  status: number;
  /** Of the body, as they were handed to the connection. */
  bytes: number;
  /** Whether the whole body was. */
  complete: boolean;
  durationMs: number;
}

/** A hook threw, was late or gave what is no answer: the request was refused with 503. */
export interface AccessFailedEvent {
  type: 'access-failed';
  hook: 'authenticate' | 'authorize' | 'challenge' | 'handle';
  /** What happened, without the request's credentials. */
  error: string;
}

export type AccessEvent = PullEvent | AccessFailedEvent;
