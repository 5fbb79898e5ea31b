import type { CacheStatus } from '../pull/answer.ts';

/** A request was answered: its status is known, its body may still be under way. `durationMs` runs up to then. */
export interface RequestEvent {
  type: 'request';
  method: string;
  /** What was asked for; `access`: a path of `access.handle`; `peer`: another process of the same storage, what comes in here; `invalid` where the path is none of ours, or was not looked at: too many requests, closed. */
  kind: 'ping' | 'catalog' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'upload' | 'access' | 'peer' | 'invalid';
  /** The upstream's key and the repository there, where the request named one. */
  upstream?: string;
  repository?: string;
  /** The group's key, where the request named one; `upstream` is its own as long as no member is known. */
  group?: string;
  /** Tag or digest. */
  reference?: string;
  status: number;
  durationMs: number;
  /** Of a body that was there at once, such as a manifest's; a blob's is told by `response-ended`. */
  bytes?: number;
  cacheStatus?: CacheStatus;
  /** The error's code, of a request that failed; `internal` for a defect, here or in a store. */
  error?: string;
  /** Of a defect: what broke and where, on one line and without secrets. Clients are not told. */
  defect?: string;
}

/** A blob's body is over. `bytes`: so many were read for the client; `complete`: those are all. */
export interface ResponseEndedEvent {
  type: 'response-ended';
  kind: 'blob';
  upstream: string;
  repository: string;
  cacheStatus: CacheStatus;
  bytes: number;
  complete: boolean;
}

/** Events of this folder. */
export type HttpEvent = RequestEvent | ResponseEndedEvent;
