import { getDefaultResultOrder, setDefaultResultOrder } from 'node:dns';
import { getDefaultAutoSelectFamily, setDefaultAutoSelectFamily } from 'node:net';
import tls from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import { networkDefaults, useNetworkDefaults } from './network-defaults.ts';

it('what a host set for its own thread holds in another, too', () => {
  const before = networkDefaults({ isSecure: true });
  onTestFinished(() => void useNetworkDefaults(before));
  setDefaultResultOrder('ipv4first');
  setDefaultAutoSelectFamily(false);
  tls.DEFAULT_MIN_VERSION = 'TLSv1.3';
  const told = structuredClone(networkDefaults({ isSecure: true }));
  useNetworkDefaults(before);
  expect([getDefaultResultOrder(), getDefaultAutoSelectFamily()]).toEqual([before.dnsOrder, before.triesFamilies]);

  useNetworkDefaults(told);
  expect(getDefaultResultOrder()).toBe('ipv4first');
  expect(getDefaultAutoSelectFamily()).toBe(false);
  expect(tls.DEFAULT_MIN_VERSION).toBe('TLSv1.3');
  expect(networkDefaults({ isSecure: true })).toEqual(told);
});
