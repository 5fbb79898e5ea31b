import type { OnReadOpts } from 'node:net';
import * as tls from 'node:tls';
import type { LRUCache } from 'lru-cache';
import { createRecent } from '../runtime/recent.ts';
import { type AddressClass, createAddressRule } from './address-rule.ts';
import { type Connector, createConnector, type HostTls, type Lookup } from './connector.ts';

/** How a host is connected to, as plain data. */
export interface HostPlan {
  tls: TlsPlan;
  /** Which addresses it may have. None: it is the upstream's own, and lives where it lives. */
  rule?: { home: AddressClass; allowPrivate: readonly string[] };
  /** Whether it is the upstream's own origin: where that lives says how far inward others may. */
  isOwn: boolean;
}

/** What both sides show. PEM text. */
export interface TlsPlan {
  /** Authorities to trust beside the machine's own. */
  ca?: readonly string[];
  cert?: string;
  key?: string;
  insecure: boolean;
}

/** Makes connections by plans. */
export interface Dialer {
  /** Makes a connector; its plan is asked for at each connection. */
  connector(plan: () => HostPlan, onread?: OnReadOpts): Connector;
  /** @throws Node's own error for what is no PEM */
  secure(plan: TlsPlan): HostTls;
}

interface Secured {
  tls: HostTls;
  sessions: LRUCache<string, Buffer>;
}

/** See {@link createSecuring}. */
export type Securing = (plan: TlsPlan) => Secured;

// Of an upstream there are two: its own, and everybody else's.
const mostSecured = 100;
const mostSessions = 100;

/** Makes what connections are secured with, once for each plan: dear to make, and sessions are taken up again from it. */
export function createSecuring(): Securing {
  const secured = createRecent<string, Secured>(mostSecured);
  return (plan) => {
    const key = JSON.stringify(plan);
    const known = secured.get(key);
    if (known) return known;
    const made = {
      tls: { context: contextOf(plan), insecure: plan.insecure },
      // Apart, because a session carries how its certificate was checked.
      sessions: createRecent<string, Buffer>(mostSessions),
    };
    secured.set(key, made);
    return made;
  };
}

/** What a dialer works with. */
interface DialerParts {
  lookup: Lookup;
  /** Told where the upstream's own origin was reached. */
  connected(address: string): void;
  /** Default: its own. */
  securedBy?: Securing;
}

export function createDialer({ lookup, connected, securedBy = createSecuring() }: DialerParts): Dialer {
  return {
    connector: (plan, onread) =>
      createConnector(() => {
        const { tls: own, rule, isOwn } = plan();
        return {
          ...securedBy(own),
          lookup,
          ...(rule && { rule: createAddressRule(rule.home, rule.allowPrivate) }),
          ...(isOwn && { connected }),
          ...(onread && { onread }),
        };
      }),
    secure: (plan) => securedBy(plan).tls,
  };
}

function contextOf({ ca, cert, key }: TlsPlan): tls.SecureContext {
  return tls.createSecureContext({
    ...(ca !== undefined && { ca: [...machineAuthorities(), ...ca] }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  });
}

/** The authorities that Node trusts by itself, which giving others would replace. */
function machineAuthorities(): readonly string[] {
  // Newer Nodes also tell those that NODE_EXTRA_CA_CERTS names.
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  return getCACertificates?.('default') ?? tls.rootCertificates;
}
