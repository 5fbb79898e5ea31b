import { createRecent } from '../runtime/recent.ts';
import type { Wire } from './connection-pool.ts';
import { type ExchangeResponse, headerOf } from './exchange.ts';

/** What a wire is chosen by. */
interface WireRequest {
  url: URL;
  method: 'GET' | 'HEAD' | 'POST';
  /** Whether it asks for a body that may be large. */
  long?: boolean | undefined;
}

/** Which wire each request goes over. */
export interface Wires {
  of(request: WireRequest): Wire;
  /** Notes how a host answers. */
  learn(request: WireRequest, response: Pick<ExchangeResponse, 'status' | 'headers'>): void;
}

// Redirects may lead to ever new hosts.
const mostOrigins = 1_000;

/**
 * Chooses a lane for whatever may have a large body, but where the host last redirected instead, or did not say how long its
 * body is: then undici is as good, and can use a connection that other requests left.
 */
export function createWires(hasLanes: boolean): Wires {
  const without = createRecent<string, true>(mostOrigins);
  const mayHaveLane = ({ method, long }: WireRequest) => hasLanes && long === true && method === 'GET';
  return {
    of: (request) => (mayHaveLane(request) && !without.has(request.url.origin) ? 'lane' : 'undici'),
    learn(request, { status, headers }) {
      if (!mayHaveLane(request)) return;
      const isRedirect = status >= 300 && status < 400;
      const { origin } = request.url;
      if (isRedirect || (status < 300 && headerOf(headers, 'content-length') === undefined)) without.set(origin, true);
      else if (status < 300) without.delete(origin);
    },
  };
}
