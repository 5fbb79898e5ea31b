import { describe, expect, it } from 'vitest';
import { nextPageQuery } from './link-header.ts';

const base = new URL('https://registry.example/v2/a/tags/list?n=2');

describe('nextPageQuery', () => {
  it.each<[string, string | readonly string[] | undefined, string | undefined]>([
    ['a relative link', '</v2/a/tags/list?n=2&last=b>; rel="next"', 'n=2&last=b'],
    ['a full link to the same origin', '<https://registry.example/v2/a/tags/list?last=b>; rel=next', 'last=b'],
    ['one of several links', '</v2/x?c=1,2>; rel="prev", </v2/a?last=b,c>; title="a, b"; rel="next last"', 'last=b,c'],
    ['one of several headers', ['</v2/x?a>; rel=prev', '</v2/a?last=b>; rel=next'], 'last=b'],
    ['no header', undefined, undefined],
    ['no link to a next page', '</v2/a?last=b>; rel="prev"', undefined],
    ['a link to another host', '<https://registry.internal/v2/a?last=b>; rel="next"', 'last=b'],
    ['a link to another scheme', '<http://registry.example/v2/a?last=b>; rel="next"', 'last=b'],
    ['a link to the page itself', '</v2/a/tags/list?n=2>; rel="next"', undefined],
    ['a link without a query', '</v2/a/tags/list>; rel="next"', undefined],
    ['a link that never ends', '</v2/a?last=b; rel="next"', undefined],
    ['what is no URL', '<https://[>; rel="next"', undefined],
  ])('reads %s', (_what, header, expected) => {
    expect(nextPageQuery(header, base)).toBe(expected);
  });

  it('keeps the query only, so that nobody but us says which host and path are asked', () => {
    expect(nextPageQuery('</v2/other/secrets?last=b>; rel="next"', base)).toBe('last=b');
    expect(nextPageQuery('<https://user:pw@evil.example/v2/a?last=b#x>; rel="next"', base)).toBe('last=b');
  });
});
