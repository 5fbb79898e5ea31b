import { isIPv4, isIPv6 } from 'node:net';
import type { AccessRequest } from '@proxycache/core';

/** Whether an address is this machine's own: 127.0.0.0/8 or ::1, also as an IPv6 socket names the former. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  if (isIPv6(address)) return address === '::1' || isLoopback(/^::ffff:([\d.]+)$/i.exec(address)?.[1]);
  return isIPv4(address) && address.startsWith('127.');
}

/**
 * Why a request is not one of somebody at this machine; `undefined`: it is. By the connection alone, and by what betrays
 * that somebody passes it on for others. A proxy here that says nothing of itself cannot be told from a user here.
 */
export function whyNotLoopback({ connection, headers }: AccessRequest): string | undefined {
  if (!connection) return 'the adapter does not say where requests come from';
  if (!isLoopback(connection.address)) return 'it comes from another machine';
  const forwarding = connection.headerNames.find(isForwarding);
  if (forwarding !== undefined) return `it was passed on by a proxy: it has the header ${forwarding}`;
  // A page of any site may have its own name point to 127.0.0.1 (DNS rebinding): the browser still sends that name.
  if (!isOwnName(headers.get('host'))) return 'its Host is not localhost or a loopback address';
  return undefined;
}

// RFC 9110 7.6.3, RFC 8586, and those that proxies of their own have.
const others = ['via', 'cdn-loop', 'x-forward-for', 'x-originating-ip', 'x-envoy-external-address', 'x-arr-log-id'];

// RFC 7239, what was there before it, and the many names of the same: `True-Client-IP`, `X-Real-IP`, `X-Remote-Addr`.
const isForwarding = (name: string) =>
  /^(x-(original-)?)?forwarded\b/.test(name) ||
  /(^|-)(client|real|remote|connecting|user)-?(ip|addr|address)$/.test(name) ||
  others.includes(name);

function isOwnName(host: string | null): boolean {
  const [, name = ''] = /^(\[[^\]]*\]|[^:]*)(?::\d{1,5})?$/.exec(host ?? '') ?? [];
  return name.toLowerCase() === 'localhost' || isLoopback(name.replace(/^\[(.*)\]$/, '$1'));
}
