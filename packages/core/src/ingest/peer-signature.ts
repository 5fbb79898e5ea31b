import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Digest } from '../oci/digest.ts';

/** A request between processes that share a secret. */
export interface PeerRequest {
  /** Whom it is for, as that process tells others to reach it: nobody whom it was sent to can pass it on to another. */
  peer: string;
  method: string;
  /** From `/v2/` on: what stands before it is the business of whoever passes the request on. */
  path: string;
  /** The `Range` header. */
  range: string;
}

/** The scheme of the `Authorization` header. */
export const peerScheme = 'Proxycache-HMAC-SHA256';

/** How far the clocks of two hosts may be apart, and how long a request that was overheard can be sent again. */
export const peerSkewMs = 60_000;

const peerPrefix = '/v2/_proxycache/ingests/';

/** Where a process is asked for what it is bringing in. No repository and no upstream's key begins with `_`. */
export const peerPath = (upstream: string, digest: Digest): string => `${peerPrefix}${upstream}/${digest}`;

/** Whether a path is one of those. */
export const isPeerPath = (path: string): boolean => path.startsWith(peerPrefix);

/** The upstream's key and the digest of a path, as text. */
export function partsOfPeerPath(path: string): { upstream: string; digest: string } | undefined {
  const match = /^([a-z][a-z0-9._-]*)\/([^/?]+)$/.exec(path.slice(peerPrefix.length));
  return match?.[1] && match[2] ? { upstream: match[1], digest: match[2] } : undefined;
}

/** The `Authorization` header of a request. @param now wall time in ms since the epoch */
export function signPeerRequest(request: PeerRequest, secret: string, now: number): string {
  return `${peerScheme} ${now} ${macOf(request, secret, now).toString('hex')}`;
}

/**
 * Whether such a header was made with the secret, for this request and lately. `late`: by a clock that is too far from
 * `now`, or long ago.
 */
export function checkPeerSignature(
  request: PeerRequest & { authorization: string | null },
  secret: string,
  now: number,
): 'right' | 'late' | 'wrong' {
  const [scheme, date = '', mac = '', ...more] = (request.authorization ?? '').split(' ');
  if (scheme !== peerScheme || more.length > 0 || !/^\d{1,15}$/.test(date) || !/^[0-9a-f]{64}$/.test(mac))
    return 'wrong';
  const at = Number(date);
  if (!timingSafeEqual(macOf(request, secret, at), Buffer.from(mac, 'hex'))) return 'wrong';
  return Math.abs(now - at) <= peerSkewMs ? 'right' : 'late';
}

function macOf({ peer, method, path, range }: PeerRequest, secret: string, at: number): Buffer {
  return createHmac('sha256', secret).update(`1\n${peer}\n${method}\n${path}\n${range}\n${at}`).digest();
}
