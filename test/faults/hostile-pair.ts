import type { ProxyCacheOptions, UpstreamOptions } from '@proxycache/core';
import { expect } from 'vitest';
import { type CacheUnderTest, startCache } from '../semantics/cache-under-test.ts';
import { pullImage } from '../semantics/pull-image.ts';
import type { Got } from '../semantics/request.ts';
import { digestOf, type RawImage, type RawUpstream, startRawUpstream } from './raw-upstream.ts';

/** What the tests of hostile input work with. */
export interface HostilePair {
  upstream: RawUpstream;
  cache: CacheUnderTest;
  /** Asks, and lets the clock run while nothing moves, so that waits come to their end. */
  ask(path: string, options?: Parameters<CacheUnderTest['get']>[1]): Promise<Got>;
  /** Takes the hostility away and expects one whole pull to be right, and nothing else to be stored. */
  expectWell(): Promise<void>;
}

const repository = '/v2/up/team/app';

/** A cache before a raw upstream, under the key `up`. */
export async function startHostile(
  options: Partial<UpstreamOptions> & { image?: RawImage; cache?: Partial<ProxyCacheOptions> } = {},
): Promise<HostilePair> {
  const { image, cache: cacheOptions, ...upstreamOptions } = options;
  const upstream = await startRawUpstream(image);
  const upstreams = [{ key: 'up', url: upstream.url, ...upstreamOptions }];
  const cache = await startCache({ upstreams, ...cacheOptions });

  /** @param rounds of nothing that moves before the clock does */
  async function patiently<T>(work: Promise<T>, rounds: number): Promise<T> {
    let over = false;
    const end = work.finally(() => {
      over = true;
    });
    end.catch(() => undefined);
    let quiet = 0;
    for (let seen = ''; !over; ) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      const now = `${upstream.sent()} ${upstream.requests.length} ${cache.events.length}`;
      quiet = now === seen ? quiet + 1 : 0;
      if (quiet >= rounds) await cache.clock.advance(2_000);
      seen = now;
    }
    return await end;
  }

  return {
    upstream,
    cache,
    async ask(path, init) {
      const got = await patiently(cache.get(path.startsWith('/') ? path : `${repository}/${path}`, init), 1);
      expectPlain(got, cache);
      return got;
    },
    async expectWell() {
      upstream.heal();
      // What was remembered of a failure is over by then.
      await cache.clock.advance(20 * 60_000);
      const pulled = await patiently(pullImage(cache, { path: repository, tag: '1' }), 80);
      const { manifest, digest, config, layer } = upstream.image;
      expect([pulled.status, pulled.digest]).toEqual([200, digest]);
      expect([...pulled.content.keys()]).toEqual([manifest, config, layer].map(digestOf));
      expect(cache.seen('request').filter(({ defect }) => defect !== undefined)).toEqual([]);
    },
  };
}

/** Hostile bytes carry this, wherever they might come through. */
export const evil = 'x-evil';

/** Nothing of what was sent became a header of ours, and no event would break out of its line. */
function expectPlain(got: Got, cache: CacheUnderTest): void {
  expect(Object.keys(got.headers).filter((name) => name.startsWith(evil))).toEqual([]);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  const control = /[\u0000-\u001f\u007f\u2028\u2029]/;
  for (const value of Object.values(got.headers)) expect(String(value)).not.toMatch(/[^\x20-\x7e]/);
  const texts = cache.events.flatMap((event) => Object.values(event).filter((value) => typeof value === 'string'));
  for (const text of texts) {
    if (!text.includes('\n    at ')) expect(text).not.toMatch(control);
    expect(text.length).toBeLessThan(2_000);
  }
}
