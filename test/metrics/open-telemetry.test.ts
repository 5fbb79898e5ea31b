import * as api from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { openTelemetry } from '@proxycache/admin';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startPair } from '../semantics/cache-under-test.ts';

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const byTag = '/v2/up/team/app/manifests/1';
const manifestRoute = 'GET /v2/{name}/manifests/{reference}';
const MiB = 1024 * 1024;
const traceId = '0af7651916cd43dd8448eb211c80319c';
const parentId = 'b7ad6b7169203331';
const traceparent = `00-${traceId}-${parentId}-01`;

beforeAll(() => {
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  api.propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  api.trace.setGlobalTracerProvider(provider);
});
beforeEach(() => exporter.reset());
afterAll(async () => {
  api.context.disable();
  api.propagation.disable();
  api.trace.disable();
  await provider.shutdown();
});

const named = (name: string) => exporter.getFinishedSpans().filter((span) => span.name === name);
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;

/** The names from a span up to the one whose parent is not here. */
function lineageOf(span: ReadableSpan): string[] {
  const parent = exporter.getFinishedSpans().find((other) => idOf(other) === span.parentSpanContext?.spanId);
  return [span.name, ...(parent ? lineageOf(parent) : [])];
}

const tracing = (options?: Parameters<typeof openTelemetry>[1]) => ({
  cache: { tracing: openTelemetry(api, options) },
});

describe('OpenTelemetry', () => {
  it('is given a server’s span for a request, part of the client’s trace, and client spans below it', async () => {
    const { upstream, cache } = await startPair({ ...tracing(), fake: { auth: { bearer: {} } } });
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [3 * MiB] });
    await cache.get(byTag, { headers: { traceparent } });
    await cache.get(`/v2/up/team/app/blobs/${layers[0]?.digest}`);
    await expect.poll(() => named('ingest')).toHaveLength(1);
    await expect.poll(() => named('GET blob')).toHaveLength(1);
    const [request] = named(manifestRoute);
    expect(request?.kind).toBe(api.SpanKind.SERVER);
    expect(request?.parentSpanContext).toMatchObject({ traceId, spanId: parentId, isRemote: true });
    const [, call] = named('GET manifest');
    expect(call?.kind).toBe(api.SpanKind.CLIENT);
    expect(call && lineageOf(call)).toEqual(['GET manifest', 'ask for tag', manifestRoute]);
    expect(named('GET token').map(lineageOf)).toEqual([['GET token', 'token', 'ask for tag', manifestRoute]]);
    for (const span of [call, ...named('GET token')]) expect(span?.spanContext().traceId).toBe(traceId);
    expect(named('GET blob').map(lineageOf)).toEqual([['GET blob', 'ingest', 'GET /v2/{name}/blobs/{digest}']]);
    expect(named('GET blob')[0]?.spanContext().traceId).not.toBe(traceId);
  });

  it('is given the links of those who wait for what another began', async () => {
    const { upstream, cache } = await startPair(tracing());
    upstream.addImage('team/app', { tag: '1' });
    await Promise.all([cache.get(byTag), cache.get(byTag)]);
    const [asked] = named('ask for tag');
    const waits = named('wait: ask for tag');
    // On a busy machine the second may come when the first is through.
    for (const { links } of waits) expect(links.map(({ context }) => context.spanId)).toEqual([idOf(asked)]);
    expect(named(manifestRoute)).toHaveLength(2);
  });

  it('is given a failure’s code as the type of the error', async () => {
    const { upstream, cache } = await startPair(tracing());
    upstream.on({ path: /manifests/ }, { status: 503 });
    await cache.get(byTag);
    expect(named(manifestRoute)[0]).toMatchObject({
      status: { code: api.SpanStatusCode.ERROR },
      attributes: { 'error.type': 'server-error', 'http.response.status_code': 503 },
    });
    expect(named('GET manifest')[0]).toMatchObject({ attributes: { 'error.type': '503' } });
  });

  it('believes no client where it is told not to', async () => {
    const { upstream, cache } = await startPair(tracing({ trustsClients: false }));
    upstream.addImage('team/app', { tag: '1' });
    await cache.get(byTag, { headers: { traceparent } });
    expect(named(manifestRoute)[0]?.parentSpanContext).toBeUndefined();
  });

  it('has the host’s own span as the parent, which is the server’s then', async () => {
    const { upstream, cache } = await startPair(tracing());
    upstream.addImage('team/app', { tag: '1' });
    await api.trace.getTracer('host').startActiveSpan('host', async (span) => {
      const request = new Request(`http://cache${byTag}`, { headers: { traceparent } });
      await (await cache.cache.fetch(request)).arrayBuffer();
      span.end();
    });
    const [request] = named(manifestRoute);
    expect(request && lineageOf(request)).toEqual([manifestRoute, 'host']);
    expect(request?.kind).toBe(api.SpanKind.INTERNAL);
  });

  it('is missed with a message that says what to do', () => {
    expect(() => openTelemetry(undefined as never)).toThrow('install it (npm install @opentelemetry/api)');
  });
});
