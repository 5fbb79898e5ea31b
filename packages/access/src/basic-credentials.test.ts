import { describe, expect, test } from 'vitest';
import { readBasicCredentials } from './basic-credentials.ts';

const encoded = (text: string | Uint8Array) => `Basic ${Buffer.from(text as string).toString('base64')}`;

describe('what an Authorization header says', () => {
  test.each([
    ['alice:wonder', 'alice', 'wonder'],
    ['alice:with:colons', 'alice', 'with:colons'],
    ['Zoë:päß wörd', 'Zoë', 'päß wörd'],
    ['a: ', 'a', ' '],
  ])('%s is a user and a password', (text, user, password) => {
    expect(readBasicCredentials(encoded(text))).toEqual({ kind: 'credentials', user, password });
  });

  test.each([
    ['basic YTpi', 'lower case'],
    ['BASIC YTpi', 'upper case'],
    ['Basic   YTpi', 'more than one space'],
    ['Basic YTpiYg', 'no padding'],
  ])('%s is read, with %s', (header) => {
    expect(readBasicCredentials(header).kind).toBe('credentials');
  });

  test.each([
    ['no header', null, 'none'],
    ['an empty one', '', 'none'],
    ['an empty user with an empty password, of podman and skopeo without a login', encoded(':'), 'none'],
    ['a token', 'Bearer YTpi', 'foreign'],
    ['a scheme that only begins alike', 'Basically YTpi', 'foreign'],
  ])('%s is told from Basic credentials', (_, header, kind) => {
    expect(readBasicCredentials(header)).toEqual({ kind });
  });

  test.each([
    ['nothing behind the scheme', 'Basic', 'base64'],
    ['nothing but a space', 'Basic ', 'base64'],
    ['what is no base64', 'Basic !!!', 'base64'],
    ['two values in a list', 'Basic YTpi, Basic YTpi', 'base64'],
    ['bytes that are no UTF-8', encoded(new Uint8Array([0x61, 0x3a, 0xe4])), 'UTF-8'],
    ['a NUL in the password', encoded('alice:won\0der'), 'control characters'],
    ['a NUL in the user', encoded('ali\0ce:wonder'), 'control characters'],
    ['a line break', encoded('alice:won\nder'), 'control characters'],
    ['no colon', encoded('alice'), '":"'],
    ['no user', encoded(':wonder'), 'no user name'],
    ['no password', encoded('alice:'), 'no password'],
    ['9 KiB', encoded(`alice:${'x'.repeat(9 * 1024)}`), 'longer than 8192'],
  ])('%s is malformed, and why is said', (_, header, why) => {
    const said = readBasicCredentials(header);
    expect(said).toMatchObject({ kind: 'malformed', message: expect.stringContaining(why) });
  });

  test('a megabyte of spaces is refused at once', () => {
    expect(readBasicCredentials(`Basic ${' '.repeat(1 << 20)}`)).toMatchObject({ kind: 'malformed' });
  });
});
