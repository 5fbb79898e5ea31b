import type { FetchFrom } from '../ingest/steady-body.ts';
import type { Digest } from '../oci/digest.ts';
import type { PullParts } from './pull-parts.ts';
import { queryOf, type Target } from './target.ts';

/** Asks the target for a blob, each time with `blobWithin` of its own. @param to the last byte wanted; default: all */
export function blobFetch(
  { clock }: Pick<PullParts, 'clock'>,
  { target, digest }: { target: Target; digest: Digest },
  to?: number,
): FetchFrom {
  const { client, blobWithinMs } = target.upstream;
  return (from, signal, ifMatch) =>
    client.fetchBlob({
      ...queryOf(target, clock.monotonic(), { ms: blobWithinMs, signal }),
      digest,
      from,
      ...(to !== undefined && { to }),
      ...(ifMatch !== undefined && { ifMatch }),
    });
}
