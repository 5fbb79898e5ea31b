import { isProxyCacheError, ProxyCacheError } from '@proxycache/core';

/**
 * The code of an error that the server said, such as `READONLY`; `undefined` for failures to reach it. The client's own
 * class for these is not exported by the package it comes in.
 */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  // Redis 5 and 6, of what a script raised.
  const [, inner = error.message] = /^ERR Error running script .*: -(.*)/.exec(error.message) ?? [];
  return /^([A-Z][A-Z0-9_]+)(?: |$)/.exec(inner)?.[1];
}

/** Whether a command failed because the server said so: then it was not done. */
export const isReply = (error: unknown): boolean => error instanceof Error && replyCode(error.cause) !== undefined;

const advice: Readonly<Record<string, string>> = {
  READONLY: 'it is a replica: connect to the primary, or by "sentinel" or "cluster"',
  NOAUTH: 'give it a username and a password',
  WRONGPASS: 'check username and password',
  NOPERM: 'the documentation of stores lists what the user must be allowed to do',
  OOM: 'its maxmemory is reached: give it more',
  MISCONF: 'it cannot write to its disk',
  LOADING: 'it has just started and is reading its data',
  CLUSTERDOWN: 'some of its slots have no server',
  CROSSSLOT: 'it is a cluster: connect by "cluster"',
  MOVED: 'it is a cluster: connect by "cluster"',
};

/** What a failed command is thrown as. */
export function redisFailure(server: string, command: string, cause: unknown): ProxyCacheError {
  if (isProxyCacheError(cause)) return cause;
  const code = replyCode(cause);
  const why = cause instanceof Error ? cause.message || cause.name : String(cause);
  if (code === undefined) {
    return new ProxyCacheError('storage-failed', `Redis (${server}) could not be asked for ${command}: ${why}`, {
      cause,
    });
  }
  const next = advice[code];
  const message = `Redis (${server}) refused ${command}: ${why}${next === undefined ? '' : `; ${next}`}`;
  return new ProxyCacheError('storage-failed', message, { cause });
}

/** What calls fail with while there is no connection. */
export function redisAway(server: string, cause: unknown): ProxyCacheError {
  const why = cause instanceof Error ? cause.message || cause.name : String(cause);
  const next = advice[replyCode(cause) ?? ''];
  return new ProxyCacheError(
    'storage-failed',
    `Redis (${server}) is away: ${why}${next === undefined ? '' : `; ${next}`}`,
    {
      cause,
    },
  );
}
