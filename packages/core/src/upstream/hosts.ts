import { isIP } from 'node:net';
import * as tls from 'node:tls';
import { LRUCache } from 'lru-cache';
import { Client, ProxyAgent } from 'undici';
import { ProxyCacheError } from '../runtime/errors.ts';
import { type AddressClass, classifyAddress, createAddressRule } from './address-rule.ts';
import type { Connection } from './connection-pool.ts';
import { AddressRefused, createConnector, type HostTls, type Lookup } from './connector.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** Which hosts an upstream's requests may go to, and how. */
export interface Hosts {
  open(url: URL): Connection;
  /** Checks a literal address in a URL; names are checked when they are connected to. @throws AddressRefused */
  check(url: URL): void;
  isOwn(url: URL): boolean;
  isPaired(url: URL): boolean;
}

// Undici closes what is idle by its own timer too; the pool's, on our clock, comes first.
const keepAliveTimeout = 60_000;

/**
 * Tells an upstream's own hosts (itself and its token hosts), which get its TLS options, from all others, which get the
 * defaults and an address check on the connection made.
 */
export function createHosts(settings: UpstreamSettings, parts: { lookup: Lookup; connectFor: number }): Hosts {
  const own = new URL(settings.url);
  const tokenHosts = new Set(settings.tokenHosts.map((host) => host.toLowerCase().replace(/:443$/, '')));
  const paired: HostTls = { context: contextOf(settings), insecure: settings.tls?.insecure ?? false };
  const foreign: HostTls = { context: tls.createSecureContext(), insecure: false };
  const pairedSessions = new LRUCache<string, Buffer>({ max: 100 });
  const foreignSessions = new LRUCache<string, Buffer>({ max: 100 });
  // Until it was reached, an upstream counts as public, unless its own URL says where it lives.
  let home: AddressClass = literalClass(own) ?? 'public';

  const isOwn = (url: URL) => url.origin === own.origin;
  const isPaired = (url: URL) =>
    isOwn(url) || (tokenHosts.has(url.host) && (url.protocol === 'https:' || own.protocol === 'http:'));

  function rule() {
    return createAddressRule(home, settings.allowPrivate);
  }

  function direct(url: URL): Connection {
    const connector = createConnector({
      tls: isPaired(url) ? paired : foreign,
      // Apart, because a session carries how its certificate was checked.
      sessions: isPaired(url) ? pairedSessions : foreignSessions,
      lookup: parts.lookup,
      ...(!isPaired(url) && { rule }),
      ...(isOwn(url) && {
        connected: (address: string) => {
          home = classifyAddress(address);
        },
      }),
    });
    const client = new Client(url.origin, { connect: connector.connect, pipelining: 1, keepAliveTimeout });
    return connectionOver(client, connector.cancel);
  }

  function proxied(url: URL, uri: string): Connection {
    const { context: secureContext, insecure } = isPaired(url) ? paired : foreign;
    const agent = new ProxyAgent({
      uri,
      connections: 1,
      // http goes through as absolute-form requests (RFC 9112 3.2.2); many proxies allow CONNECT to port 443 alone.
      proxyTunnel: false,
      requestTls: { secureContext, rejectUnauthorized: !insecure, timeout: parts.connectFor },
      proxyTls: { timeout: parts.connectFor },
      keepAliveTimeout,
    });
    return connectionOver(agent, () => undefined);
  }

  return {
    isOwn,
    isPaired,
    // Behind a proxy, which does the looking up, this is the only check there can be.
    check(url) {
      const literal = literalAddress(url);
      if (isPaired(url) || literal === undefined || rule().allows(literal, url.host)) return;
      throw new AddressRefused(url.host, [literal]);
    },
    open: (url) => (settings.proxy === undefined ? direct(url) : proxied(url, settings.proxy)),
  };
}

function connectionOver(dispatcher: Client | ProxyAgent, cancel: () => void): Connection {
  return {
    dispatcher,
    used: false,
    destroy() {
      // What runs over it was told before; nobody waits for the end of this.
      dispatcher.destroy().catch(() => undefined);
      cancel();
    },
  };
}

function contextOf(settings: UpstreamSettings): tls.SecureContext {
  const { ca, cert, key } = settings.tls ?? {};
  try {
    return tls.createSecureContext({
      ...(ca !== undefined && { ca: [...machineAuthorities(), ...(typeof ca === 'string' ? [ca] : ca)] }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
    });
  } catch (cause) {
    const message = `tls of the upstream "${settings.key}": expected PEM text in ca, cert and key, and a key of that cert`;
    throw new ProxyCacheError('invalid-options', message, { cause });
  }
}

/** The authorities that Node trusts by itself, which giving others would replace. */
function machineAuthorities(): readonly string[] {
  // Newer Nodes also tell those that NODE_EXTRA_CA_CERTS names.
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  return getCACertificates?.('default') ?? tls.rootCertificates;
}

function literalAddress(url: URL): string | undefined {
  const address = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(address) !== 0) return address;
  // RFC 6761 6.3: always the loopback address.
  return /(^|\.)localhost\.?$/.test(address) ? '127.0.0.1' : undefined;
}

function literalClass(url: URL): AddressClass | undefined {
  const address = literalAddress(url);
  return address === undefined ? undefined : classifyAddress(address);
}
