import { describe, expect, test } from 'vitest';
import { parseBasePath, stripBasePath } from './base-path.ts';

describe('parseBasePath', () => {
  test.each([
    ['', ''],
    ['/', ''],
    ['/registry', '/registry'],
    ['/a/b%20c', '/a/b%20c'],
  ])('takes %j as %j', (given, meant) => expect(parseBasePath(given)).toBe(meant));

  test.each(['registry', '/registry/', '//registry', '/a?b', '/a#b', '/a b', 7 as unknown as string])(
    'refuses %j and says what was meant',
    (given) => {
      expect(() => parseBasePath(given)).toThrow(
        expect.objectContaining({ code: 'invalid-options', message: expect.stringContaining(JSON.stringify(given)) }),
      );
    },
  );
});

describe('stripBasePath', () => {
  test.each([
    ['/v2/', '', '/v2/'],
    ['/pfx/v2/?n=1', '/pfx', '/v2/?n=1'],
    ['/pfx', '/pfx', '/'],
    ['/pfx?n=1', '/pfx', '/?n=1'],
    ['/pfxx/v2/', '/pfx', undefined],
    ['/v2/pfx/', '/pfx', undefined],
    ['/PFX/v2/', '/pfx', undefined],
    ['http://registry/pfx/v2/?n=1', '/pfx', '/v2/?n=1'],
    ['http://registry/v2/', '/pfx', undefined],
    ['http://registry/v2/', '', '/v2/'],
    ['*', '', '*'],
  ])('%s below %j is %j', (url, basePath, rest) => expect(stripBasePath(url, basePath)).toBe(rest));
});
