import { expect, it } from 'vitest';
import { basicCredentialOf } from './basic-credential.ts';

const header = (pair: string | Uint8Array) => `Basic ${Buffer.from(pair as string).toString('base64')}`;

it.each([
  [header('alice:secret'), 'alice', 'secret'],
  [`bAsIc   ${Buffer.from('alice:secret').toString('base64')}`, 'alice', 'secret'],
  [header('alice:with:colons:'), 'alice', 'with:colons:'],
  [header('ålice:gehëim'), 'ålice', 'gehëim'],
  [header('_json_key:{\n  "type": "service_account"\n}\n'), '_json_key', '{\n  "type": "service_account"\n}\n'],
  // RFC 4648 3.2: padding that is missing loses nothing.
  [header('alice:secrets').replace(/=+$/, ''), 'alice', 'secrets'],
])('%j is a name and a password', (given, username, password) => {
  expect(basicCredentialOf(given)).toEqual({ username, password });
});

it.each([
  [null],
  [''],
  ['Basic'],
  ['Basic '],
  ['Basic ===='],
  ['Basic YWxpY2U6c2VjcmV0 YWxpY2U6c2VjcmV0'],
  ['Basic YWxpY2U6c2VjcmV0, Bearer x'],
  ['Bearer YWxpY2U6c2VjcmV0'],
  [header('alice')],
  [header(':')],
  [header(':secret')],
  [header('alice:')],
  [header(Uint8Array.from([0x61, 0x3a, 0xe9]))],
  [header(`alice:${'x'.repeat(8 * 1024)}`)],
])('%j is none', (given) => {
  expect(basicCredentialOf(given)).toBeUndefined();
});
