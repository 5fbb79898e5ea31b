import {
  type AccessHooks,
  type AccessQuestion,
  type AccessRequest,
  type AdmissionContext,
  type AdmissionDecision,
  type AdmissionOptions,
  type Clock,
  type Credential,
  type Identity,
  memoryStorage,
  type PersistUpstreamsOptions,
  ProxyCacheError,
  type Verdict,
} from '@proxycache/core';
import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';
import { as } from './callers.ts';

const manifest = '/v2/up/team/app/manifests/1';

/** Knows one user, who may pull one repository. */
class Guard implements AccessHooks {
  readonly #user = 'alice';
  readonly #repository = 'team/app';

  authenticate({ headers }: AccessRequest): Identity | undefined {
    const header = headers.get('authorization');
    if (header === null) return undefined;
    if (header === as(this.#user).headers.authorization) return { name: this.#user };
    throw new ProxyCacheError('unauthenticated', 'wrong user or password');
  }

  authorize({ identity, repository }: AccessQuestion): Verdict {
    if (identity?.name === this.#user && repository === this.#repository) return { allow: true };
    return { allow: false, reason: `only ${this.#user} may` };
  }

  challenge(): string {
    return `Basic realm="of ${this.#user}"`;
  }

  async handle() {
    return { status: 200, headers: {}, body: Buffer.from(this.#user) };
  }

  get within() {
    return this.#user === 'alice' ? ('3s' as const) : 0;
  }
}

describe('hooks that are methods of a class', () => {
  test('of access are asked, as functions of an object are: nobody else gets anything', async () => {
    const { upstream, cache } = await startPair({ cache: { access: new Guard() } });
    for (const repository of ['team/app', 'team/other']) upstream.addImage(repository, { tag: '1' });
    const refused = await cache.get(manifest);
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, 'Basic realm="of alice"']);
    expect((await cache.get(manifest, as('alice', 'a guess'))).status).toBe(401);
    expect((await cache.get('/v2/up/team/other/manifests/1', as('alice'))).status).toBe(403);
    expect(upstream.count({})).toBe(0);
    expect((await cache.get(manifest, as('alice'))).status).toBe(200);
    expect((await cache.get('/token')).body.toString()).toBe('alice');
    expect(cache.seen('pull').map(({ decision, identity }) => [decision, identity])).toEqual([
      ['unauthenticated', undefined],
      ['unauthenticated', undefined],
      ['deny', 'alice'],
      ['allow', 'alice'],
    ]);
  });

  test('of a policy judge, and say which version it is', async () => {
    class Policy implements AdmissionOptions {
      #refused: string | undefined = 'team/app';

      admit({ repository }: AdmissionContext): AdmissionDecision {
        return repository === this.#refused ? { deny: true, reason: 'not today' } : { allow: true };
      }

      version(): string {
        return this.#refused ?? 'none';
      }

      allowAll(): void {
        this.#refused = undefined;
      }
    }
    const policy = new Policy();
    const { upstream, cache } = await startPair({ cache: { admission: policy } });
    upstream.addImage('team/app', { tag: '1' });
    expect((await cache.get(manifest)).status).toBe(403);
    policy.allowAll();
    expect((await cache.get(manifest)).status).toBe(200);
  });

  test('say what a reference stands for, to pulls and to checks', async () => {
    class Vault implements PersistUpstreamsOptions {
      readonly #secret = { username: 'cache', password: 'pa55' };

      async secretOf(reference: string): Promise<Credential> {
        if (reference !== 'hub') throw new Error('there is none');
        return this.#secret;
      }
    }
    const { upstream, cache } = await startPair({
      fake: { auth: { basic: { username: 'cache', password: 'pa55' } } },
      auth: { reference: 'hub' },
      cache: { persistUpstreams: new Vault() },
    });
    upstream.addImage('team/app', { tag: '1' });
    expect((await cache.get(manifest)).status).toBe(200);
    expect(await cache.cache.upstreams.check('up')).toMatchObject({ ok: true });
  });
});

test('a clock of a class serves purges, and room is made by it', async () => {
  class Offset implements Clock {
    readonly #own: ManualClock;
    constructor(own: ManualClock) {
      this.#own = own;
    }
    now(): number {
      return this.#own.now() + 60_000;
    }
    monotonic(): number {
      return this.#own.monotonic();
    }
    after(ms: number, fn: () => void): () => void {
      return this.#own.after(ms, fn);
    }
  }
  const own = manualClock();
  const clock = new Offset(own);
  const storage = memoryStorage({ clock });
  const { upstream, cache } = await startPair({ cache: { clock, storage, retention: { maxBytes: 5_000_000 } } });
  const names = ['one', 'two', 'three'];
  for (const name of names) upstream.addImage(`team/${name}`, { tag: '1', layerSizes: [2_000_000] });
  for (const name of names) {
    const { references } = await cache.cache.warm([`up/team/${name}:1`]);
    expect(references).toMatchObject([{ outcome: 'stored' }]);
    await own.advance(1_000);
  }
  expect(await cache.cache.has('up/team/one:1')).toBe(false);
  expect(await cache.cache.purge({ reference: 'up/team/three:1' })).toMatchObject({ tags: 1, files: 3 });
});
