import { describe, expect, it } from 'vitest';
import { isAboutScope, readChallenge } from './known-challenge.ts';

const url = new URL('https://registry.example/v2/team/app/manifests/1');
const read = (header: string | readonly string[] | undefined, repository?: string, from = url) =>
  readChallenge(header, { url: from, repository });

function scopesOf(header: string, asked: string | undefined, wanted: readonly (string | undefined)[]): string[] {
  const challenge = read(header, asked);
  if (challenge?.kind !== 'bearer') throw new Error('it is no bearer challenge');
  return wanted.map((repository) => challenge.scopeOf(repository));
}

describe('readChallenge', () => {
  it('prefers tokens to Basic, and takes Basic where nothing else is offered', () => {
    expect(read('Basic realm="x", Bearer realm="https://t.example/token"')).toMatchObject({ kind: 'bearer' });
    expect(read(['Negotiate', 'Basic realm="x"'])).toEqual({ kind: 'basic' });
    expect(read('Negotiate')).toBeUndefined();
    expect(read('Bearer service="x"')).toBeUndefined();
    expect(read(undefined)).toBeUndefined();
  });

  it('keeps realm and service; a relative realm is on the registry itself', () => {
    expect(read('Bearer realm="https://t.example/token?x=y#z",service="s"')).toMatchObject({
      realm: new URL('https://t.example/token?x=y'),
      service: 's',
    });
    expect(read('Bearer realm="/token"')).toMatchObject({ realm: new URL('https://registry.example/token') });
  });

  it.each([
    'Bearer realm="http://t.example/"',
    'Bearer realm="ftp://t.example/"',
    'Bearer realm="https://[?sig=s3cr3t"',
  ])('refuses a realm of %s without showing it', (header) => {
    expect(() => read(header)).toThrow(/^(?!.*s3cr3t)named a token service/);
  });

  it('takes a realm on plain http from a registry on plain http', () => {
    expect(read('Bearer realm="http://t.example/"', 'a', new URL('http://registry.example/'))).toMatchObject({
      kind: 'bearer',
    });
  });

  it.each<[string, string, string | undefined, readonly string[]]>([
    ['as it is told', 'repository:team/app:pull', 'team/app', ['repository:other:pull', '']],
    ['with more before the name', 'repository:proxy/team/app:pull', 'team/app', ['repository:proxy/other:pull', '']],
    ['with more rights', 'repository:team/app:pull,push', 'team/app', ['repository:other:pull,push', '']],
    ['that is the same for all', 'registry:pull', 'team/app', ['registry:pull', 'registry:pull']],
    ['told for no repository', 'registry:catalog:*', undefined, ['registry:catalog:*', 'registry:catalog:*']],
  ])('knows the scope of other repositories by one %s', (_what, scope, asked, expected) => {
    const header = `Bearer realm="https://t.example/",scope="${scope}"`;
    expect(scopesOf(header, asked, ['other', undefined])).toEqual(expected);
  });

  it('asks to pull the repository where no scope is told', () => {
    expect(scopesOf('Bearer realm="https://t.example/"', undefined, ['team/app', undefined])).toEqual([
      'repository:team/app:pull',
      '',
    ]);
  });
});

describe('isAboutScope', () => {
  it('is so by the error that the challenge names', () => {
    expect(isAboutScope('Bearer realm="x",error="insufficient_scope"')).toBe(true);
    expect(isAboutScope('Bearer realm="x",error="invalid_token"')).toBe(false);
    expect(isAboutScope(undefined)).toBe(false);
  });
});
