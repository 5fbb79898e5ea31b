import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { clientAddress } from './client-address.ts';

function request(remoteAddress: string, ...forwarded: string[]): IncomingMessage {
  const header = forwarded.length === 0 ? undefined : forwarded.join(', ');
  return { socket: { remoteAddress }, headers: { 'x-forwarded-for': header } } as unknown as IncomingMessage;
}

const trusted = ['10.0.0.0/8', '192.0.2.1', 'fd00::/8'];

describe('without trusted proxies', () => {
  test('the client is the peer, whatever it claims', () => {
    expect(clientAddress([])(request('198.51.100.1', '1.1.1.1'))).toBe('198.51.100.1');
  });

  test('an IPv4 peer at a socket for both families is shown as IPv4', () => {
    expect(clientAddress([])(request('::ffff:198.51.100.1'))).toBe('198.51.100.1');
  });
});

describe('with trusted proxies', () => {
  const addressOf = clientAddress(trusted);

  test.each<[string, IncomingMessage, string]>([
    ['what a stranger claims does not count', request('198.51.100.1', '1.1.1.1'), '198.51.100.1'],
    ['a trusted peer is believed', request('10.1.2.3', '198.51.100.1'), '198.51.100.1'],
    ['so is one that is a single address', request('192.0.2.1', '198.51.100.1'), '198.51.100.1'],
    ['so is one of IPv6', request('fd00::1', '2001:db8::1'), '2001:db8::1'],
    ['so is one of IPv4 at a socket for both', request('::ffff:10.1.2.3', '198.51.100.1'), '198.51.100.1'],
    ['trusted proxies before it are passed over', request('10.0.0.1', '198.51.100.1', '10.0.0.2'), '198.51.100.1'],
    [
      'what stands before the first stranger is its claim',
      request('10.0.0.1', '1.1.1.1', '198.51.100.1'),
      '198.51.100.1',
    ],
    ['without the header it is the proxy', request('10.0.0.1'), '10.0.0.1'],
    ['what is no address ends the chain', request('10.0.0.1', '198.51.100.1', 'unknown'), '10.0.0.1'],
    ['all trusted: the first', request('10.0.0.1', '10.0.0.3', '10.0.0.2'), '10.0.0.3'],
  ])('%s', (_, req, expected) => {
    expect(addressOf(req)).toBe(expected);
  });
});
