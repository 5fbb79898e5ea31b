import { expect, test } from 'vitest';
import { isLoopback } from './loopback.ts';

test.each(['127.0.0.1', '127.255.255.255', '::1', '::ffff:127.0.0.1', '::FFFF:127.9.9.9'])(
  '%s is this machine',
  (address) => {
    expect(isLoopback(address)).toBe(true);
  },
);

test.each([
  undefined,
  '',
  '0.0.0.0',
  '128.0.0.1',
  '12.7.0.0.1',
  '127.1',
  '::',
  '::2',
  '::ffff:10.0.0.1',
  'localhost',
  '127.0.0.1.example',
])('%s is not', (address) => {
  expect(isLoopback(address)).toBe(false);
});
