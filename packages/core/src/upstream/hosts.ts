import { lookup as dnsLookup } from 'node:dns';
import { isIP } from 'node:net';
import { type buildConnector, Client, ProxyAgent } from 'undici';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Throttle } from '../runtime/throttle.ts';
import { type AddressClass, classifyAddress, createAddressRule } from './address-rule.ts';
import type { Connection, Wire } from './connection-pool.ts';
import { AddressRefused, type Lookup } from './connector.ts';
import { createDialer, type HostPlan, type TlsPlan } from './dialer.ts';
import { createLane } from './lane.ts';
import { createRemoteLane } from './remote-lane.ts';
import type { ThreadLanes } from './thread-lanes.ts';
import type { UpstreamSettings } from './upstream-options.ts';
import { createValve, type Valve } from './valve.ts';

/** Which hosts an upstream's requests may go to, and how. */
export interface Hosts {
  /** Makes a connection, when it is first used. */
  open(url: URL, wire: Wire): Connection;
  /** Whether there are lanes: what goes through a proxy is left to undici, which knows how. */
  hasLanes: boolean;
  /** How a host is connected to now. */
  plan(url: URL): HostPlan;
  /** Checks a literal address in a URL; names are checked when they are connected to. @throws AddressRefused */
  check(url: URL): void;
  isOwn(url: URL): boolean;
  isPaired(url: URL): boolean;
}

/** What hosts are reached with. */
interface HostsParts {
  /** Default: the machine's. */
  lookup: Lookup | undefined;
  connectFor: number;
  /** Where lanes are to be. Default: in this thread. */
  lanes: ThreadLanes | undefined;
  throttle: Throttle | undefined;
}

// Undici closes what is idle by its own timer too; the pool's, on our clock, comes first.
const keepAliveTimeout = 60_000;

// What brings less than this a second is read in small steps, for which lanes are not made: they save nothing there either.
const worthLanes = 16 * 1024 * 1024;

/**
 * Tells an upstream's own hosts (itself and its token hosts), which get its TLS options, from all others, which get the
 * defaults and an address check on the connection made.
 */
export function createHosts(settings: UpstreamSettings, parts: HostsParts): Hosts {
  const own = new URL(settings.url);
  const tokenHosts = new Set(settings.tokenHosts.map((host) => host.toLowerCase().replace(/:443$/, '')));
  const paired = tlsOf(settings);
  const foreign: TlsPlan = { insecure: false };
  // Until it was reached, an upstream counts as public, unless its own URL says where it lives.
  let home: AddressClass = literalClass(own) ?? 'public';

  const isOwn = (url: URL) => url.origin === own.origin;
  const isPaired = (url: URL) =>
    isOwn(url) || (tokenHosts.has(url.host) && (url.protocol === 'https:' || own.protocol === 'http:'));

  const { bytesPerSecond = Number.POSITIVE_INFINITY } = settings.limits;
  const hasLanes = settings.proxy === undefined && bytesPerSecond >= worthLanes;
  // What was given resolves names here and nowhere else.
  const lanes = parts.lookup || !hasLanes ? undefined : parts.lanes;
  const connected = (address: string) => {
    home = classifyAddress(address);
  };
  const dialer = createDialer({ lookup: parts.lookup ?? dnsLookup, connected });
  checkTls(settings.key, () => dialer.secure(paired));

  function plan(url: URL): HostPlan {
    const { allowPrivate } = settings;
    if (isPaired(url)) return { tls: paired, isOwn: isOwn(url) };
    return { tls: foreign, rule: { home, allowPrivate }, isOwn: false };
  }

  function direct(url: URL): Connection {
    lanes?.prepare();
    const connector = dialer.connector(() => plan(url));
    const valve = createValve(parts.throttle?.step);
    const connect = valve.around(connector.connect);
    const client = new Client(url.origin, { connect, pipelining: 1, keepAliveTimeout });
    return connectionOver(client, valve, connector.cancel);
  }

  function lane(url: URL): Connection {
    const instead = () => createLane(url.origin, dialer);
    const port = lanes?.open(url.origin);
    const { dispatch, destroy } = port ? createRemoteLane({ port, connected, instead }) : instead();
    return { wire: 'lane', dispatcher: { dispatch }, valve: undefined, used: false, destroy };
  }

  function proxied(url: URL, uri: string): Connection {
    const { context: secureContext, insecure } = dialer.secure(plan(url).tls);
    const valve = createValve(parts.throttle?.step);
    const agent = new ProxyAgent({
      uri,
      // Gets what makes the connection that answers come over, be it to the proxy or through it.
      factory: (origin, options: Client.Options) =>
        new Client(origin, { ...options, connect: valve.around(options.connect as buildConnector.connector) }),
      // http goes through as absolute-form requests (RFC 9112 3.2.2); many proxies allow CONNECT to port 443 alone.
      proxyTunnel: false,
      requestTls: { secureContext, rejectUnauthorized: !insecure, timeout: parts.connectFor },
      proxyTls: { timeout: parts.connectFor },
      keepAliveTimeout,
    });
    return connectionOver(agent, valve, () => undefined);
  }

  return {
    isOwn,
    isPaired,
    hasLanes,
    plan,
    // Behind a proxy, which does the looking up, this is the only check there can be.
    check(url) {
      const literal = literalAddress(url);
      const { rule } = plan(url);
      if (!rule || literal === undefined || createAddressRule(rule.home, rule.allowPrivate).allows(literal, url.host)) {
        return;
      }
      throw AddressRefused.of(url.host, [literal]);
    },
    open(url, wire) {
      if (settings.proxy !== undefined) return proxied(url, settings.proxy);
      return wire === 'lane' ? lane(url) : direct(url);
    },
  };
}

function connectionOver(dispatcher: Client | ProxyAgent, valve: Valve, cancel: () => void): Connection {
  return {
    wire: 'undici',
    dispatcher,
    valve,
    used: false,
    destroy() {
      // What runs over it was told before; nobody waits for the end of this.
      dispatcher.destroy().catch(() => undefined);
      cancel();
    },
  };
}

function tlsOf({ tls: { ca, cert, key, insecure = false } = {} }: UpstreamSettings): TlsPlan {
  return {
    ...(ca !== undefined && { ca: typeof ca === 'string' ? [ca] : ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    insecure,
  };
}

function checkTls(key: string, secure: () => unknown): void {
  try {
    secure();
  } catch (cause) {
    const message = `tls of the upstream "${key}": expected PEM text in ca, cert and key, and a key of that cert`;
    throw new ProxyCacheError('invalid-options', message, { cause });
  }
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
