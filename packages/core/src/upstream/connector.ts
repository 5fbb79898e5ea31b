import type { LookupAddress, LookupOptions } from 'node:dns';
import { connect as connectTcp, isIP, type LookupFunction, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext } from 'node:tls';
import type { buildConnector } from 'undici';
import { type AddressRule, classifyAddress } from './address-rule.ts';

/** TLS of one kind of host: the upstream's own, or everybody else's. */
export interface HostTls {
  context: SecureContext;
  insecure: boolean;
}

/** Gives all addresses of a name, as `dns.lookup` does with `all: true`. */
export type Lookup = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** What connections are made with. */
export interface ConnectorOptions {
  tls: HostTls;
  lookup: Lookup;
  /** Checked on every connection made. None: the host is the upstream's own. */
  rule?: AddressRule;
  /** TLS sessions to take up again, by host and port: a handshake less on both sides. */
  sessions: { get(host: string): Buffer | undefined; set(host: string, session: Buffer): unknown };
  /** Told the address of each connection made. */
  connected?: (address: string) => void;
  /** Reads into memory of the caller's. Default: into fresh memory, as a stream. */
  onread?: OnReadOpts;
}

/** Makes connections for one client, one at a time; `cancel` gives up the one being made. */
export interface Connector {
  connect: buildConnector.connector;
  cancel(): void;
}

/** A connection was refused because of where it led. */
export class AddressRefused extends Error {
  /** Whether `allowPrivate` could allow it. */
  readonly allowable: boolean;

  private constructor(message: string, allowable: boolean) {
    super(message);
    this.name = 'AddressRefused';
    this.allowable = allowable;
  }

  static of(host: string, addresses: readonly string[]): AddressRefused {
    const allowable = addresses.some((address) => classifyAddress(address) !== 'never');
    return new AddressRefused(`${host} has an address that redirects and realms must not lead to`, allowable);
  }

  /** The same one, of a connection that another thread made. */
  static again({ message, allowable }: Pick<AddressRefused, 'message' | 'allowable'>): AddressRefused {
    return new AddressRefused(message, allowable);
  }
}

/**
 * Makes a connector. Undici's own would check no address and could not be cancelled.
 *
 * @param optionsNow asked for at each connection
 */
export function createConnector(optionsNow: () => ConnectorOptions): Connector {
  let connecting: Socket | undefined;

  function open({ protocol, hostname, port }: buildConnector.Options, options: ConnectorOptions): Socket {
    const { rule, lookup, onread } = options;
    const host = { host: hostname, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 };
    const checked = checkedLookup(rule, lookup, hostOf(hostname, port));
    const to = { ...host, lookup: checked, ...(onread && { onread }) };
    if (protocol !== 'https:') return connectTcp({ ...to, port: Number(port) || 80 });
    const name = hostOf(hostname, port);
    const session = options.sessions.get(name);
    const socket = connectTls({
      ...to,
      port: Number(port) || 443,
      ...(isIP(hostname) === 0 && { servername: hostname }),
      ALPNProtocols: ['http/1.1'],
      secureContext: options.tls.context,
      rejectUnauthorized: !options.tls.insecure,
      ...(session && { session }),
    });
    return socket.on('session', (ticket: Buffer) => {
      options.sessions.set(name, ticket);
    });
  }

  return {
    connect(target, callback) {
      const host = hostOf(target.hostname, target.port);
      const options = optionsNow();
      const { rule } = options;
      // A literal address is never looked up.
      if (rule && isIP(target.hostname) !== 0 && !rule.allows(target.hostname, host)) {
        queueMicrotask(() => callback(AddressRefused.of(host, [target.hostname]), null));
        return;
      }
      const socket = open(target, options);
      connecting = socket;
      const settle = (error: Error | null) => {
        connecting = undefined;
        socket.removeListener('error', settle);
        if (!error) return callback(null, socket);
        socket.on('error', () => undefined).destroy();
        callback(error, null);
      };
      socket.once('error', settle);
      // What was connected to is what counts; nothing was sent yet.
      socket.once('connect', () => {
        const address = socket.remoteAddress ?? '';
        if (rule && !rule.allows(address, host)) socket.destroy(AddressRefused.of(host, [address]));
      });
      socket.once(target.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        if (socket.destroyed) return;
        options.connected?.(socket.remoteAddress ?? '');
        settle(null);
      });
    },
    cancel() {
      connecting?.destroy(new Error('given up while connecting'));
    },
  };
}

function hostOf(hostname: string, port: string): string {
  return port === '' ? hostname : `${hostname}:${port}`;
}

/** A lookup that leaves out the addresses that are refused: a name may change its mind between a check and its use. */
function checkedLookup(rule: AddressRule | undefined, resolve: Lookup, host: string): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, []);
      const allowed = rule ? found.filter(({ address }) => rule.allows(address, host)) : found;
      const [first] = allowed;
      if (!first)
        return callback(
          AddressRefused.of(
            host,
            found.map(({ address }) => address),
          ),
          [],
        );
      if (options.all) return callback(null, allowed);
      callback(null, first.address, first.family);
    });
  };
}
