import { casesOf, type MakeUpstream, type UpstreamUnderTest, upstreamContract } from '@proxycache/contract';
import { type FakeUpstream, type FakeUpstreamOptions, startFakeUpstream } from '@proxycache/test-kit';
import { describe, test } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { systemClock } from '../runtime/clock.ts';
import { createClient } from './client.ts';
import { createUpstream } from './endpoints.ts';

const registries: Record<string, FakeUpstreamOptions> = {
  'the specification': {},
  'a token service': { auth: { bearer: { public: ['library/app', 'library/other', 'library/none'] } } },
  'no HEAD': { personality: 'head-405' },
  'no ranges': { personality: 'no-ranges' },
  'no digest and no length in its answers': { personality: ['no-digest', 'no-content-length'] },
  'short pages': { pageLimit: 3 },
};

const madeOf = ({ putBlob, putManifest, stop }: FakeUpstream): Omit<UpstreamUnderTest, 'upstream'> => ({
  monotonic: systemClock.monotonic,
  putBlob,
  putManifest,
  endRegistry: stop,
  close: stop,
});

describe('an upstream of two endpoints', () => {
  const make: MakeUpstream = async () => {
    const registry = await startFakeUpstream();
    const url = `${registry.url}/`;
    const settings = upstreamSettings({ key: 'up', url: registry.url, endpoints: [{ url }], retry: { attempts: 1 } });
    return {
      ...madeOf(registry),
      upstream: createUpstream(settings, { clock: systemClock, observe: () => undefined }),
    };
  };
  for (const { name, run } of casesOf(upstreamContract)) test(name, () => run(make));
});

describe.each(Object.entries(registries))('the client of a registry with %s', (_, fake) => {
  const make: MakeUpstream = async () => {
    const registry = await startFakeUpstream(fake);
    const settings = upstreamSettings({ key: 'up', url: registry.url });
    const upstream = createClient(settings, { clock: systemClock, observe: () => undefined });
    return { ...madeOf(registry), upstream };
  };
  for (const { name, run } of casesOf(upstreamContract)) test(name, () => run(make));
});
