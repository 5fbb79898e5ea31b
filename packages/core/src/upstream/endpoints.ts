import type { Digest } from '../oci/digest.ts';
import { discard } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createRecent } from '../runtime/recent.ts';
import { createThrottle } from '../runtime/throttle.ts';
import { createAskEndpoints } from './ask-endpoints.ts';
import type { EndpointQuestion } from './ask-round.ts';
import type { BreakerState } from './breaker.ts';
import { createClient, type UpstreamParts } from './client.ts';
import { createEndpoint, type Endpoint } from './endpoint.ts';
import { endpointSettings } from './endpoint-settings.ts';
import { retryRulesOf } from './retry.ts';
import { createRetryBudget } from './retry-budget.ts';
import type { Query, Reply, Upstream, UpstreamStatus } from './upstream.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** What composing an upstream takes, beside what its clients do. */
export interface EndpointsParts extends UpstreamParts {
  /** Gives numbers from 0 to below 1, for the jitter of waits. Default `Math.random`. */
  random?: () => number;
}

// Enough for the blobs that are under way; one that was forgotten is asked of the preferred endpoint as ever.
const mostGiven = 1_000;
const givenForMs = 60_000;
// Of a cursor that is marked with its endpoint; those of `url` need no mark, as most upstreams have no other.
const cursorMark = '~';

/**
 * Makes an upstream of its options: one client for `url` and one for each of its `endpoints`, asked by
 * {@link createAskEndpoints}.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function createUpstream(settings: UpstreamSettings, parts: EndpointsParts): Upstream {
  const { bytesPerSecond } = settings.limits;
  const throttle = bytesPerSecond === undefined ? undefined : createThrottle({ bytesPerSecond, clock: parts.clock });
  const clients = endpointSettings(settings).map((own) => {
    const source = own === settings ? parts.source : undefined;
    return { url: own.url, client: createClient(own, { ...parts, throttle, source }) };
  });
  return composeUpstream(clients, settings, parts);
}

/** Makes an upstream of the clients of its endpoints, the preferred one first. */
export function composeUpstream(
  clients: readonly { url: string; client: Upstream }[],
  { key, retry }: Pick<UpstreamSettings, 'key' | 'retry'>,
  { clock, observe, random = () => Math.random() }: EndpointsParts,
): Upstream {
  // Of a single one its requests say all there is to say.
  const report = clients.length === 1 ? () => undefined : observe;
  const endpoints = clients.map(({ url, client }, index) =>
    createEndpoint({ key, url, index, client, clock, observe: report }),
  );
  // Whole blobs that came lately, and from whom.
  const given = createRecent<Digest, { endpoint: Endpoint; at: number }>(mostGiven);

  /** Whoever asks for a whole blob again that has just come got wrong bytes: another endpoint may have the right ones. */
  function forWhole(digest: Digest): readonly Endpoint[] {
    const last = given.get(digest);
    if (!last || clock.monotonic() - last.at > givenForMs) return endpoints;
    return [...endpoints.filter((endpoint) => endpoint !== last.endpoint), last.endpoint];
  }

  const asking = createAskEndpoints({
    key,
    rules: retryRulesOf(retry),
    budget: createRetryBudget(retry.budget, clock),
    clock,
    observe,
    random,
  });

  async function ask<Q extends Omit<Query, 'repository'>, T>(
    query: Q,
    question: Omit<EndpointQuestion<Q, T>, 'query' | 'endpoints'>,
  ): Promise<Reply<T>> {
    return (await asking.ask({ ...question, query, endpoints })).reply;
  }

  return {
    resolve: (query) =>
      ask(query, { operation: 'head', matter: 'changing', ask: (client, shared) => client.resolve(shared) }),
    statManifest: (query) =>
      ask(query, { operation: 'head', matter: 'content', ask: (client, shared) => client.statManifest(shared) }),
    fetchManifest: (query) =>
      ask(query, {
        operation: 'manifest',
        matter: query.reference.kind === 'tag' ? 'changing' : 'content',
        ask: (client, shared) => client.fetchManifest(shared),
      }),
    statBlob: (query) =>
      ask(query, {
        operation: 'head',
        matter: 'content',
        patient: true,
        ask: (client, shared) => client.statBlob(shared),
      }),
    async fetchBlob(query) {
      const { digest, from, to } = query;
      const isWhole = from === 0 && to === undefined;
      const { reply, endpoint } = await asking.ask({
        operation: 'blob',
        matter: 'content',
        query,
        endpoints: isWhole ? forWhole(digest) : endpoints,
        patient: true,
        ask: (client, shared) => client.fetchBlob(shared),
        drop(late) {
          if (late.kind === 'found') discard(late.value.body).catch(() => undefined);
        },
      });
      // With a single one there is no other to prefer.
      if (reply.kind !== 'found' || endpoints.length === 1) return reply;
      const value = endpoint.watched(reply.value, () => {
        if (isWhole) given.set(digest, { endpoint, at: clock.monotonic() });
      });
      return { kind: 'found', value };
    },
    async listTags({ cursor, ...query }) {
      // A cursor means something to the endpoint that gave it alone.
      const at = cursor === undefined ? undefined : placeOf(cursor, endpoints);
      const { reply, endpoint } = await asking.ask({
        operation: 'list',
        matter: 'changing',
        query: at ? { ...query, cursor: at.cursor } : query,
        endpoints: at ? [at.endpoint] : endpoints,
        ask: (client, shared) => client.listTags(shared),
      });
      const next = reply.kind === 'found' ? reply.value.next : undefined;
      if (reply.kind !== 'found' || next === undefined) return reply;
      if (endpoint.isFirst && !next.startsWith(cursorMark)) return reply;
      return { kind: 'found', value: { ...reply.value, next: `${cursorMark}${endpoint.id}${cursorMark}${next}` } };
    },
    listReferrers: (query) =>
      ask(query, {
        operation: 'list',
        matter: 'changing',
        ask: (client, shared) => client.listReferrers(shared),
        // An empty list reads as "unsigned": that is for `url` to say, too.
        isNothing: (reply) => reply.kind !== 'found' || reply.value.manifests.length === 0,
      }),
    state(query) {
      let best: BreakerState = 'open';
      for (const { client } of endpoints) {
        const state = client.state(query);
        if (state === 'closed') return state;
        if (state === 'half-open') best = state;
      }
      return best;
    },
    status: () => statusOf(endpoints),
    ping: (query) =>
      ask(query, { operation: 'ping', matter: 'changing', ask: (client, shared) => client.ping(shared) }),
    async close() {
      asking.close(new ProxyCacheError('closed', `${key}: the cache is closed`));
      await Promise.all(clients.map(({ client }) => client.close()));
    },
  };
}

/** As the endpoint that is doing best: that is asked when the others fail. */
function statusOf(endpoints: readonly Endpoint[]): UpstreamStatus {
  const all = endpoints.map(({ client }) => client.status());
  const hosts = all.flatMap((status) => status.hosts);
  const best = all.reduce((one, other) => (isBetter(other, one) ? other : one));
  return { ...best, hosts };
}

const states: readonly BreakerState[] = ['closed', 'half-open', 'open'];

function isBetter(one: UpstreamStatus, other: UpstreamStatus): boolean {
  const steps = states.indexOf(one.state) - states.indexOf(other.state);
  return steps === 0 ? (one.retryAt ?? 0) < (other.retryAt ?? 0) : steps < 0;
}

/** @throws ProxyCacheError `page-invalid` for a cursor of an endpoint that is not there (any more) */
function placeOf(cursor: string, endpoints: readonly Endpoint[]): { endpoint: Endpoint; cursor: string } {
  const [, id, own] = /^~([0-9a-f]{8})~(.*)$/s.exec(cursor) ?? [];
  const endpoint = endpoints.find((one) => (id === undefined ? one.isFirst : one.id === id));
  if (!endpoint) throw new ProxyCacheError('page-invalid', 'the cursor is not one we gave');
  return { endpoint, cursor: own ?? cursor };
}
