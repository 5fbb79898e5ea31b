import { BlockList, isIP } from 'node:net';

/**
 * Where an address lives. `never`: what no registry has business with: unspecified, link-local (where the metadata
 * services of clouds answer), multicast, reserved, and the metadata addresses outside the link-local blocks.
 */
export type AddressClass = 'public' | 'private' | 'loopback' | 'never';

/** Whether a redirect or realm may lead to an address. */
export interface AddressRule {
  /** `host`: the URL's, without brackets, with its port where the URL has one. */
  allows(address: string, host: string): boolean;
}

const blocks: Readonly<Record<Exclude<AddressClass, 'public'>, readonly string[]>> = {
  // RFC 1122, RFC 3927, RFC 5771, RFC 1112 4; metadata of Oracle, Azure (wire server) and Alibaba; RFC 4291; AWS by IPv6.
  never: [
    '0.0.0.0/8',
    '169.254.0.0/16',
    '224.0.0.0/4',
    '240.0.0.0/4',
    '192.0.0.192/32',
    '168.63.129.16/32',
    '100.100.100.200/32',
    '::/128',
    'fe80::/10',
    'ff00::/8',
    'fd00:ec2::254/128',
  ],
  loopback: ['127.0.0.0/8', '::1/128'],
  // RFC 1918, RFC 6598, RFC 6890, RFC 2544, RFC 4193, RFC 3879, RFC 8215.
  private: [
    '10.0.0.0/8',
    '172.16.0.0/12',
    '192.168.0.0/16',
    '100.64.0.0/10',
    '192.0.0.0/24',
    '198.18.0.0/15',
    'fc00::/7',
    'fec0::/10',
    '64:ff9b:1::/48',
  ],
};

const lists = (['never', 'loopback', 'private'] as const).map((name) => [name, blockListOf(blocks[name])] as const);

/** The class of an IPv4 or IPv6 address; an IPv4 address inside an IPv6 one counts as what it is. */
export function classifyAddress(address: string): AddressClass {
  const plain = embeddedIPv4(address) ?? withoutZone(address);
  const family = isIP(plain);
  if (family === 0) return 'never';
  return lists.find(([, list]) => list.check(plain, family === 4 ? 'ipv4' : 'ipv6'))?.[0] ?? 'public';
}

const distance: Readonly<Record<AddressClass, number>> = { public: 0, private: 1, loopback: 2, never: 3 };

/**
 * Decides for the upstream that lives at `home`: nothing leads further inward than the upstream itself lives, but to
 * what `allowPrivate` lists (hosts, addresses, CIDR blocks).
 */
export function createAddressRule(home: AddressClass, allowPrivate: readonly string[]): AddressRule {
  const hosts = new Set(allowPrivate.map((entry) => entry.toLowerCase()));
  const list = blockListOf(allowPrivate.filter((entry) => isIP(entry.split('/', 1)[0] ?? '') !== 0));
  return {
    allows(address, host) {
      const found = classifyAddress(address);
      if (found === 'never') return false;
      if (distance[found] <= distance[home]) return true;
      const name = host.toLowerCase();
      if (hosts.has(name) || hosts.has(name.replace(/:\d+$/, ''))) return true;
      const plain = embeddedIPv4(address) ?? withoutZone(address);
      return list.check(plain, isIP(plain) === 4 ? 'ipv4' : 'ipv6');
    },
  };
}

/** Whether an entry of `allowPrivate` is a host, an address or a CIDR block. */
export function isAddressPattern(entry: string): boolean {
  const [base = '', bits, ...more] = entry.split('/');
  if (bits === undefined) return /^[a-z0-9.:_-]+$/i.test(entry);
  const family = isIP(base);
  return more.length === 0 && family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
}

function blockListOf(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [base = '', bits] = entry.split('/');
    const family = isIP(base) === 4 ? 'ipv4' : 'ipv6';
    list.addSubnet(base, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family);
  }
  return list;
}

function withoutZone(address: string): string {
  return address.split('%', 1)[0] ?? '';
}

/** The IPv4 address inside a mapped, compatible (RFC 4291), translated (RFC 6052) or 6to4 (RFC 3056) IPv6 address. */
function embeddedIPv4(address: string): string | undefined {
  const groups = groupsOf(withoutZone(address));
  if (!groups) return undefined;
  const starts = (...prefix: number[]) => prefix.every((group, i) => groups[i] === group);
  if (starts(0x2002)) return dotted(groups[1] ?? 0, groups[2] ?? 0);
  const last = dotted(groups[6] ?? 0, groups[7] ?? 0);
  if (starts(0, 0, 0, 0, 0, 0xffff) || starts(0, 0, 0, 0, 0xffff, 0) || starts(0x64, 0xff9b, 0, 0, 0, 0)) return last;
  // ::1 and :: are IPv6's own.
  return starts(0, 0, 0, 0, 0, 0) && (groups[6] !== 0 || (groups[7] ?? 0) > 1) ? last : undefined;
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

function groupsOf(address: string): readonly number[] | undefined {
  if (isIP(address) !== 6) return undefined;
  const colon = address.lastIndexOf(':');
  const tail = address.slice(colon + 1);
  let text = address;
  if (tail.includes('.')) {
    const [a = 0, b = 0, c = 0, d = 0] = tail.split('.').map(Number);
    text = `${address.slice(0, colon + 1)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [left = '', right] = text.split('::');
  const head = left === '' ? [] : left.split(':');
  const rest = right === undefined || right === '' ? [] : right.split(':');
  const gap = right === undefined ? 0 : 8 - head.length - rest.length;
  return [...head, ...Array<string>(gap).fill('0'), ...rest].map((group) => Number.parseInt(group, 16));
}
