import type { Bytes } from '../runtime/bytes.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { Caller } from './caller.ts';
import type { UpstreamOperation } from './events.ts';
import type { ResponseHeaders } from './exchange.ts';
import type { Query } from './upstream.ts';

/** A question to the registry. */
export interface Question {
  operation: UpstreamOperation;
  method: 'GET' | 'HEAD';
  /** Behind `/v2/`, percent-encoded where it has to be. */
  path: string;
  /** With its `?`. */
  search?: string;
  headers?: Readonly<Record<string, string>>;
  /** What is asked for, as it may be shown. */
  subject: string;
  /** Missing for `/v2/` itself. */
  repository?: string;
  scope: string;
  /** See {@link Query.caller}. */
  caller: Caller | undefined;
  /** See {@link Query.sparesQuota}. */
  sparesQuota?: boolean;
  /** Whether the body of its answer is read at its readers' speed. Default: no. */
  long?: boolean;
  /** Memory for a long body. */
  slabs?: Slabs | undefined;
  deadlineAt: number;
  /** Told how long it waited for a connection, by which its deadline has moved. */
  queued?: ((waitedMs: number) => void) | undefined;
  signal: AbortSignal;
}

/** An answer that says something: neither 429 nor 5xx. */
export interface Answer {
  status: number;
  headers: ResponseHeaders;
  body: Bytes;
  /** Whether it came from the registry's own origin, not from where a redirect led. */
  fromOwnOrigin: boolean;
  /** Where it came from. Not to be shown: it may be signed. */
  url: URL;
  /** The token service's refusal, where the question did not even leave. */
  denial?: Denial;
}

/** A token service's word that this caller may not. */
export interface Denial {
  kind: 'denied';
  status: number;
  message: string;
}

/** Puts a question to the registry: with its credential, over redirects, within its rate limits. */
export type Ask = (question: Question) => Promise<Answer>;
