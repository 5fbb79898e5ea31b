import { isProxyCacheError } from '../runtime/errors.ts';
import { noSpan, type Span, type Trace, traced } from '../runtime/tracing.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { Ingest, IngestRequest } from './ingest.ts';

/** An ingest, and the span of its time: part of the request that began it. */
export type TracedIngest = Ingest & { readonly span: Span };

/** @param trace `undefined`: nobody traces */
export function tracedIngest(
  trace: Trace | undefined,
  { upstream, repository, digest, spare }: Pick<IngestRequest, 'upstream' | 'repository' | 'digest' | 'spare'>,
  begin: () => Ingest,
): TracedIngest {
  if (!trace) return { ...begin(), span: noSpan };
  const attributes = {
    'proxycache.upstream': upstream,
    'proxycache.repository': repository,
    'proxycache.reference': digest,
    'proxycache.prefetch': spare !== undefined,
  };
  let begun: TracedIngest | undefined;
  void trace({ name: 'ingest', kind: 'internal', attributes }, async (span) => {
    begun = { ...begin(), span };
    await noteEnd(span, begun);
  });
  // Called at once.
  return begun as TracedIngest;
}

async function noteEnd(span: Span, { reply, verified, ended, received }: Ingest): Promise<void> {
  const said = await reply.catch(() => undefined);
  try {
    await verified;
  } catch (error) {
    const isKnown = isUpstreamError(error) || isProxyCacheError(error);
    const isRefused = said !== undefined && said.kind !== 'found';
    // What was given up was so for a reason that whoever gave it up tells.
    span.fail(isKnown ? error.code : isRefused ? 'refused' : 'given-up');
  }
  await ended;
  span.set({ 'proxycache.bytes': received() });
}

/** The wait for somebody else's ingest, which links to it. @param ingest `undefined`: it is one's own */
export function tracedWait<T>(
  trace: Trace | undefined,
  ingest: { span: Span } | undefined,
  wait: () => Promise<T>,
): Promise<T> {
  if (!ingest) return wait();
  return traced(trace, { name: 'wait: ingest', kind: 'internal', attributes: {} }, (span) => {
    span.link(ingest.span);
    return wait();
  });
}
