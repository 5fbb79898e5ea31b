import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChallenges } from './challenge.ts';

const plain = (headers: Parameters<typeof parseChallenges>[0]) =>
  parseChallenges(headers).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('parseChallenges', () => {
  it.each<[string, string | readonly string[] | undefined, unknown]>([
    ['no header', undefined, []],
    ['an empty header', '', []],
    [
      'the challenge of Docker Hub',
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"',
      [
        [
          'bearer',
          {
            realm: 'https://auth.docker.io/token',
            service: 'registry.docker.io',
            scope: 'repository:library/alpine:pull',
          },
        ],
      ],
    ],
    [
      'commas and spaces inside quotes',
      'Bearer scope="repository:a:pull,push repository:b:pull", realm="x"',
      [['bearer', { scope: 'repository:a:pull,push repository:b:pull', realm: 'x' }]],
    ],
    [
      'several challenges in one header',
      'Basic realm="a, b", Bearer realm="https://t/",service="s"',
      [
        ['basic', { realm: 'a, b' }],
        ['bearer', { realm: 'https://t/', service: 's' }],
      ],
    ],
    [
      'several headers',
      ['Basic realm="a"', 'Bearer realm="b"'],
      [
        ['basic', { realm: 'a' }],
        ['bearer', { realm: 'b' }],
      ],
    ],
    [
      'a token in the place of parameters',
      'Negotiate YWJj==, NTLM, Basic realm="a"',
      [
        ['negotiate', {}],
        ['ntlm', {}],
        ['basic', { realm: 'a' }],
      ],
    ],
    ['a scheme alone', 'Basic', [['basic', {}]]],
    ['schemes and names in any case', 'BEARER Realm="x"', [['bearer', { realm: 'x' }]]],
    ['escapes in quotes', String.raw`Basic realm="a \"b\" \\c"`, [['basic', { realm: String.raw`a "b" \c` }]]],
    [
      'values without quotes',
      'Bearer realm=https://t/token?a=b,service=s',
      [['bearer', { realm: 'https://t/token?a=b', service: 's' }]],
    ],
    ['spaces around the equals sign', 'Bearer realm = "x" , service = s', [['bearer', { realm: 'x', service: 's' }]]],
    ['a parameter twice', 'Bearer realm="x",realm="y"', [['bearer', { realm: 'x' }]]],
    ['a quote that never ends', 'Bearer realm="x', [['bearer', { realm: 'x' }]]],
    ['an escape at the end', 'Bearer realm="x\\', [['bearer', { realm: 'x' }]]],
    ['an empty value', 'Bearer realm="",service=', [['bearer', { realm: '', service: '' }]]],
    ['what is no challenge', '"Bearer"', []],
  ])('reads %s', (_what, headers, expected) => {
    expect(plain(headers)).toEqual(expected);
  });

  it('comes to an end on any text, in time in proportion to its length', () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => Array.isArray(parseChallenges(text))));
    for (const piece of [',', 'a ', 'a=', '"', 'a="\\', 'Bearer realm="x",']) {
      const started = performance.now();
      parseChallenges(piece.repeat(200_000 / piece.length));
      expect(performance.now() - started).toBeLessThan(1_000);
    }
  });

  it('reads back any parameters that were written with quotes', () => {
    const name = fc.stringMatching(/^[a-z]{1,8}$/);
    const quoted = (value: string) => `"${value.replace(/[\\"]/g, String.raw`\$&`)}"`;
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(name, fc.string()), { selector: ([key]) => key, minLength: 1 }), (pairs) => {
        const header = `Bearer ${pairs.map(([key, value]) => `${key}=${quoted(value)}`).join(', ')}`;
        expect(plain(header)).toEqual([['bearer', Object.fromEntries(pairs)]]);
      }),
    );
  });
});
