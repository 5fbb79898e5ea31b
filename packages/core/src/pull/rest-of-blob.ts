import type { Rest } from '../ingest/follower.ts';
import { uncachedReason } from '../ingest/is-local.ts';
import { verifiedStream } from '../ingest/verified-stream.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import { fetchFor, type PassedPull } from './passed-blob.ts';
import type { PullParts } from './pull-parts.ts';
import { createPass } from './verified-parts.ts';

/**
 * The rest of a blob whose transfer here can be read no longer, by a request of the client's own: stored nowhere, and
 * held back at its end until all that the client was given is found right (SEMANTICS 18).
 *
 * @param what the part that the client reads (default: the whole), and the whole's size where it was announced
 */
export async function* restOfBlob(
  parts: PullParts,
  request: PassedPull,
  rest: Rest,
  what: { part: ByteRange | undefined; size: number | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { target, digest, signal } = request;
  const { upstream, repository } = target.place;
  const { position, prefix, witness, confirmed, cause } = rest;
  const { part, size } = what;
  const reason = uncachedReason(cause);
  parts.observe({ type: 'passed-through', upstream, repository, digest, reason });
  const endsBefore = part !== undefined && size !== undefined && part.to < size - 1;
  if (endsBefore && target.upstream.coldRange !== 'verify') {
    yield* (await fetchFor(parts, request, { from: position, to: part.to, takesOver: true, signal })).body;
    return;
  }
  const { total, body } = await fetchFor(parts, request, { from: prefix?.length ?? 0, takesOver: true, signal });
  const verified = verifiedStream(body, { upstream, digest, total: size ?? total, prefix, witness, confirmed });
  const pass = createPass(verified, prefix?.length);
  try {
    yield* pass.read({ from: position, to: part?.to ?? Number.POSITIVE_INFINITY }, true);
    // One that ends before what the client was given does must not look complete.
    if (pass.position() < position) {
      const message = `${upstream} sent ${pass.position()} bytes for ${digest}, of which the client has ${position}`;
      throw new UpstreamError('digest-mismatch', message, { upstream });
    }
  } finally {
    await pass.close();
  }
}
