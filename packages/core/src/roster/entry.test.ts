import { expect, test } from 'vitest';
import { ownOptions } from './entry.ts';

test('options are copied without what they leave undefined, however deep', () => {
  const given = { url: 'https://a.example', tls: { ca: ['one'], cert: undefined }, endpoints: [{ auth: undefined }] };
  const own = ownOptions(given);
  expect(own).toStrictEqual({ url: 'https://a.example', tls: { ca: ['one'] }, endpoints: [{}] });
  given.tls.ca.push('two');
  expect(own.tls.ca).toEqual(['one']);
});

test('a credential of a class keeps what its class has', () => {
  class Account {
    get username() {
      return 'ann';
    }
    get password() {
      return 'x';
    }
  }
  const { auth } = ownOptions({ auth: new Account() });
  expect([auth.username, auth.password]).toEqual(['ann', 'x']);
});
