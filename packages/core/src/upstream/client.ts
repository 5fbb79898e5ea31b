import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createAsk } from './ask.ts';
import { anonymous } from './authenticate.ts';
import { createBlobs } from './blobs.ts';
import type { Lookup } from './connector.ts';
import type { UpstreamEvent } from './events.ts';
import { createManifests } from './manifests.ts';
import { createTransport } from './transport.ts';
import type { Upstream } from './upstream.ts';
import type { UpstreamOptions } from './upstream-options.ts';

/** What an upstream needs from the process around it. */
export interface UpstreamParts {
  clock: Clock;
  observe(event: UpstreamEvent): void;
  /** Default `proxycache`. */
  userAgent?: string;
  /** Resolves host names. Default: the machine's `dns.lookup`. */
  lookup?: Lookup;
}

const defaultManifestLimit = 4 * 1024 * 1024;

/**
 * Makes the client of one registry, by the OCI distribution-spec. It connects when it is first asked.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function createUpstream(options: UpstreamOptions, parts: UpstreamParts): Upstream {
  const { clock, observe, userAgent = 'proxycache', lookup } = parts;
  const { key, ownVoice: markers = [], maxManifestBytes = defaultManifestLimit } = options;
  const transport = createTransport(options, { clock, userAgent, ...(lookup && { lookup }) });
  const ask = createAsk(options, { clock, transport, authenticator: anonymous, observe });
  const notYet = () => Promise.reject(new ProxyCacheError('unsupported', 'not built yet'));
  return {
    ...createManifests(ask, { key, maxManifestBytes, markers }),
    ...createBlobs(ask, { key, markers }),
    listTags: notYet,
    listReferrers: notYet,
    ping: notYet,
    close: () => transport.close(),
  };
}
