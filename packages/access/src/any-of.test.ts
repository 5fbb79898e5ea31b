import { type AccessRequest, ProxyCacheError } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { type AnyOfPart, anyOf } from './any-of.ts';

const { signal } = new AbortController();
const request = (authorization: string | null, context?: unknown): AccessRequest => ({
  method: 'GET',
  url: '/v2/',
  basePath: '',
  headers: { get: (name) => (name === 'authorization' ? authorization : null) },
  context,
  signal,
});

/** Knows one value of `Authorization` by its scheme. */
function part(scheme: string, value: string, name: string): AnyOfPart & { asked: number } {
  const made = {
    asked: 0,
    authenticate: Object.assign(
      ({ headers }: AccessRequest) => {
        made.asked++;
        const header = headers.get('authorization');
        if (header === null) return undefined;
        if (header.slice(scheme.length + 1) === value) return { name };
        throw new ProxyCacheError('unauthenticated', `not ${name}`);
      },
      { scheme },
    ),
    challenge: () => `${scheme} realm="${name}"`,
  };
  return made;
}

describe('several ways to say who one is', () => {
  test('each is asked about credentials of its own scheme alone', async () => {
    const [password, token] = [part('Basic', 'YTpi', 'alice'), part('Bearer', 'abc', 'robot')];
    const { authenticate } = anyOf(password, token);
    expect(await authenticate(request('Basic YTpi'))).toEqual({ name: 'alice' });
    expect(await authenticate(request('bearer abc'))).toEqual({ name: 'robot' });
    expect([password.asked, token.asked]).toEqual([1, 1]);
    await expect(authenticate(request('Basic guess'))).rejects.toThrow('not alice');
    await expect(authenticate(request('Bearer guess'))).rejects.toThrow('not robot');
  });

  test('of the same scheme, the first that knows who asks decides', async () => {
    const { authenticate } = anyOf(part('Bearer', 'abc', 'ours'), part('Bearer', 'xyz', 'theirs'));
    expect(await authenticate(request('Bearer xyz'))).toEqual({ name: 'theirs' });
    await expect(authenticate(request('Bearer guess'))).rejects.toThrow('not ours');
  });

  test('nobody brings no credentials, and those of a scheme that none takes are refused', async () => {
    const { authenticate } = anyOf(part('Basic', 'YTpi', 'alice'), part('Bearer', 'abc', 'robot'));
    expect(await authenticate(request(null))).toBeUndefined();
    await expect(authenticate(request('Digest abc'))).rejects.toMatchObject({
      code: 'unauthenticated',
      message: 'expected credentials of one of the schemes Basic, Bearer',
    });
  });

  test('where one needs credentials, those who bring none are refused', async () => {
    const needing: AnyOfPart = {
      authenticate: Object.assign(
        () => {
          throw new ProxyCacheError('unauthenticated', 'a token is needed');
        },
        { scheme: 'Bearer' },
      ),
    };
    const { authenticate } = anyOf(part('Basic', 'YTpi', 'alice'), needing);
    await expect(authenticate(request(null))).rejects.toThrow('a token is needed');
    expect(await authenticate(request('Basic YTpi'))).toEqual({ name: 'alice' });
  });

  test('one without a scheme is asked about each request, before or after the others as it stands', async () => {
    const byCertificate = { authenticate: ({ context }: AccessRequest) => (context ? { name: 'host' } : undefined) };
    const { authenticate } = anyOf(byCertificate, part('Basic', 'YTpi', 'alice'));
    expect(await authenticate(request(null, 'certificate'))).toEqual({ name: 'host' });
    expect(await authenticate(request('Basic guess', 'certificate'))).toEqual({ name: 'host' });
    expect(await authenticate(request('Basic YTpi'))).toEqual({ name: 'alice' });
    await expect(authenticate(request('Digest abc'))).rejects.toThrow(
      'expected credentials of one of the schemes Basic',
    );
    expect(await anyOf(byCertificate).authenticate(request('Digest abc'))).toBeUndefined();
  });

  test('one may be of a class', async () => {
    class Directory implements AnyOfPart {
      readonly #name = 'directory';
      authenticate() {
        return { name: this.#name };
      }
      challenge() {
        return `Basic realm="${this.#name}"`;
      }
      async handle() {
        return { status: 200, headers: {}, body: Buffer.from(this.#name) };
      }
    }
    const { authenticate, challenge, handle } = anyOf(new Directory());
    expect(await authenticate(request(null))).toEqual({ name: 'directory' });
    expect(challenge({ scope: undefined, request: request(null) })).toEqual(['Basic realm="directory"']);
    const asked = { ...request(null), body: async () => new Uint8Array() };
    expect((await handle(asked))?.body).toEqual(Buffer.from('directory'));
  });

  test('that one could not tell is not told as a wrong password', async () => {
    const away: AnyOfPart = {
      authenticate: () => {
        throw new Error('directory away');
      },
    };
    const { authenticate } = anyOf(part('Basic', 'YTpi', 'alice'), away);
    expect(await authenticate(request('Basic YTpi'))).toEqual({ name: 'alice' });
    await expect(authenticate(request('Basic guess'))).rejects.toThrow('directory away');
  });

  test('all challenges are told, in the order of the parts', () => {
    const two: AnyOfPart = { authenticate: () => undefined, challenge: () => ['Bearer realm="x"', 'Digest'] };
    const { challenge } = anyOf(part('Basic', 'YTpi', 'alice'), { authenticate: () => undefined }, two);
    const values = challenge({ scope: undefined, request: request(null) });
    expect(values).toEqual(['Basic realm="alice"', 'Bearer realm="x"', 'Digest']);
  });

  test('paths of their own are answered by the first that has them', async () => {
    const answer = (path: string, status: number): AnyOfPart => ({
      authenticate: () => undefined,
      handle: Object.assign(
        async ({ url }: AccessRequest) => (url === path ? { status, headers: {}, body: null } : undefined),
        { owns: (url: string) => url === path },
      ),
    });
    const { handle } = anyOf(answer('/a', 200), part('Basic', 'YTpi', 'alice'), answer('/b', 201), answer('/b', 202));
    const ask = async (url: string) =>
      (await handle({ ...request(null), url, body: async () => Buffer.alloc(0) }))?.status;
    expect([await ask('/a'), await ask('/b'), await ask('/c')]).toEqual([200, 201, undefined]);
    expect(['/a', '/b', '/c'].map((url) => handle.owns?.(url))).toEqual([true, true, false]);
  });

  test('none are refused', () => {
    expect(() => anyOf()).toThrow('anyOf: expected at least one');
  });
});
