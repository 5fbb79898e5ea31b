import { UpstreamError } from '../upstream/upstream-error.ts';
import type { Received } from './spooling.ts';

/** The error of a transfer that came to something else than its blob. @param next what is done about it */
export function mismatch(
  { upstream, repository, digest }: { upstream: string; repository: string; digest: string },
  { digest: actual, size, total }: Received & { total: number | undefined },
  next: string,
): UpstreamError {
  const sent = total !== undefined && size > total ? `more than ${total} bytes` : `bytes of ${actual}`;
  const message = `${upstream} sent ${sent} for ${digest} of ${repository}; ${next}`;
  return new UpstreamError('digest-mismatch', message, { upstream });
}
