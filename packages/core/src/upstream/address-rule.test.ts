import { describe, expect, it } from 'vitest';
import { type AddressClass, classifyAddress, createAddressRule, isAddressPattern } from './address-rule.ts';

describe('classifyAddress', () => {
  it.each<[AddressClass, readonly string[]]>([
    [
      'public',
      ['1.1.1.1', '172.15.255.255', '172.32.0.1', '192.169.0.1', '11.0.0.1', '2606:4700::1111', '100.128.0.1'],
    ],
    [
      'private',
      ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', 'fc00::1', 'fdff::1', 'fec0::1'],
    ],
    ['loopback', ['127.0.0.1', '127.255.255.254', '::1']],
    [
      'never',
      [
        ...['0.0.0.0', '0.1.2.3', '169.254.169.254', '169.254.0.1', '224.0.0.1', '255.255.255.255', '240.0.0.1'],
        ...['::', 'fe80::1', 'fe80::1%eth0', 'febf::1', 'ff02::1', 'fd00:ec2::254', '100.100.100.200', '168.63.129.16'],
        ...['', 'registry.example', '1.2.3', '1.2.3.4.5', '::g'],
      ],
    ],
  ])('knows %s addresses', (name, addresses) => {
    for (const address of addresses) expect([address, classifyAddress(address)]).toEqual([address, name]);
  });

  it.each([
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['::FFFF:A00:1', 'private'],
    ['::ffff:169.254.169.254', 'never'],
    ['::ffff:1.1.1.1', 'public'],
    ['::ffff:0:10.0.0.1', 'private'],
    ['::127.0.0.1', 'loopback'],
    ['64:ff9b::169.254.169.254', 'never'],
    ['64:ff9b::a00:1', 'private'],
    ['64:ff9b:1::1', 'private'],
    ['2002:7f00:1::', 'loopback'],
    ['2002:a9fe:a9fe::1', 'never'],
    ['0:0:0:0:0:ffff:0a00:0001', 'private'],
  ] as const)('takes the IPv4 address inside %s for what it is: %s', (address, expected) => {
    expect(classifyAddress(address)).toBe(expected);
  });
});

describe('createAddressRule', () => {
  const addresses = { public: '1.1.1.1', private: '10.0.0.1', loopback: '127.0.0.1', never: '169.254.169.254' };

  it.each<[home: AddressClass, led: readonly AddressClass[]]>([
    ['public', ['public']],
    ['private', ['public', 'private']],
    ['loopback', ['public', 'private', 'loopback']],
  ])('never leads further inward than where the upstream lives (%s)', (home, expected) => {
    const rule = createAddressRule(home, []);
    const allowed = Object.entries(addresses).filter(([, address]) => rule.allows(address, 'other.example'));
    expect(allowed.map(([name]) => name)).toEqual(expected);
  });

  it.each([
    ['an address', '10.0.0.1', '10.0.0.1', 'x.example'],
    ['a block', '10.0.0.0/8', '10.9.9.9', 'x.example'],
    ['a block, by a mapped address', '10.0.0.0/8', '::ffff:10.9.9.9', 'x.example'],
    ['an IPv6 block', 'fc00::/7', 'fd00::1', 'x.example'],
    ['a host', 'cdn.corp', '10.0.0.1', 'cdn.corp'],
    ['a host in any case', 'CDN.corp', '127.0.0.1', 'cdn.CORP'],
    ['a host with its port', 'cdn.corp:8443', '10.0.0.1', 'cdn.corp:8443'],
    ['a host on any port', 'cdn.corp', '10.0.0.1', 'cdn.corp:8443'],
  ])('leads to %s that allowPrivate lists', (_what, listed, address, host) => {
    expect(createAddressRule('public', [listed]).allows(address, host)).toBe(true);
    expect(createAddressRule('public', [listed]).allows('192.168.0.1', 'other.example')).toBe(false);
  });

  it('leads to no other port than the one that is listed', () => {
    expect(createAddressRule('public', ['cdn.corp:8443']).allows('10.0.0.1', 'cdn.corp:9000')).toBe(false);
  });

  it('never leads to metadata services, whatever allowPrivate lists and wherever the upstream lives', () => {
    const rule = createAddressRule('loopback', ['169.254.0.0/16', '169.254.169.254', 'metadata.corp']);
    expect(rule.allows('169.254.169.254', 'metadata.corp')).toBe(false);
    expect(rule.allows('::ffff:169.254.169.254', 'metadata.corp')).toBe(false);
  });
});

describe('isAddressPattern', () => {
  it.each(['cdn.corp', 'cdn.corp:443', '10.0.0.1', '10.0.0.0/8', 'fc00::/7', 'fd00::1'])('takes %s', (entry) => {
    expect(isAddressPattern(entry)).toBe(true);
  });
  it.each(['', '10.0.0.0/33', 'fc00::/129', '10.0.0.0/8/8', 'cdn.corp/8', 'https://cdn.corp', '10.0.0.0/x'])(
    'refuses %j',
    (entry) => {
      expect(isAddressPattern(entry)).toBe(false);
    },
  );
});
