import { expect, it } from 'vitest';
import type { Target } from '../pull/target.ts';
import { createKnownUrls } from './known-urls.ts';

const url = '/v2/up/team/app/manifests/1';

function start() {
  let located = 0;
  const target = { upstream: { identity: { generation: () => 1 } }, place: { generation: 1 } } as unknown as Target;
  const urls = createKnownUrls(
    {
      locate() {
        located++;
        return { target, clientName: 'up/team/app' };
      },
      whenRelocated: () => undefined,
      groups: { held: () => undefined },
    },
    'manifest',
    () => 'content',
  );
  const ask = (host: string) => {
    const headers = { get: (name: string) => (name === 'host' ? host : null) };
    const { signal } = new AbortController();
    const known = urls.find({ method: 'GET', url, basePath: '', headers, body: async () => new Uint8Array(), signal });
    if (known) urls.keep(url, known);
  };
  return { ask, located: () => located };
}

it('remembers what a URL means, at the host that it was asked for at', () => {
  const { ask, located } = start();
  for (let times = 0; times < 3; times++) ask('cache.example:5000');
  expect(located()).toBe(1);
  ask('other.example');
  expect(located()).toBe(2);
});

it('remembers no host that is too long to be one, and forgets nothing for it', () => {
  const { ask, located } = start();
  ask('cache.example');
  ask('x'.repeat(15_000));
  ask('x'.repeat(15_000));
  expect(located()).toBe(3);
  ask('cache.example');
  expect(located()).toBe(3);
});
