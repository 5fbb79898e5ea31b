import { describe, expect, it } from 'vitest';
import { checkUpstreamKey, shadowWarnings } from './upstream-key.ts';

describe('checkUpstreamKey', () => {
  it.each(['hub', 'docker-hub', 'ghcr.io', 'a', 'x1', 'a_b', 'a__b', 'a--b', 'k8s'])('takes %s', (key) => {
    expect(() => checkUpstreamKey(key)).not.toThrow();
  });

  it.each([
    ['', 'a lowercase letter first'],
    ['1hub', 'a lowercase letter first'],
    ['-hub', 'a lowercase letter first'],
    ['_catalog', 'a lowercase letter first'],
    ['..', 'a lowercase letter first'],
    ['Hub', 'only lowercase letters, digits, ".", "_" and "-", received "Hub"; did you mean "hub"?'],
    ['hub/a', 'only lowercase letters'],
    ['hub:5000', 'only lowercase letters'],
    ['hüb', 'only lowercase letters'],
    ['hub\n', 'only lowercase letters'],
    ['hub.', 'around each separator'],
    ['hub-', 'around each separator'],
    ['a..b', 'around each separator'],
    ['a___b', 'around each separator'],
    ['a._b', 'around each separator'],
  ])('refuses %j and says why', (key, why) => {
    expect(() => checkUpstreamKey(key, 'upstreams[3].key')).toThrow(
      expect.objectContaining({ code: 'invalid-options', message: expect.stringContaining(why) }),
    );
    expect(() => checkUpstreamKey(key, 'upstreams[3].key')).toThrow(/^upstreams\[3\]\.key: /);
  });
});

describe('shadowWarnings', () => {
  const upstream = (key: string, ...hosts: string[]) => ({ key, hosts, library: false });
  const shadowed = (...args: Parameters<typeof shadowWarnings>) =>
    shadowWarnings(...args).map((warning) => /"([^"]+)" hides/.exec(warning)?.[1]);

  it('names keys that could be accounts under a default that is Docker Hub, removed ones too', () => {
    const upstreams = [upstream('docker-hub', 'Docker.io'), upstream('quay'), upstream('ghcr.io'), upstream('gcr')];
    expect(shadowed({ upstreams, defaultUpstream: 'docker-hub', reservedKeys: ['gone', 'old-one'] })).toEqual([
      'quay',
      'gone',
    ]);
  });

  it('names a key of Docker Hub itself, which hides its account from clients that send ns', () => {
    const upstreams = [upstream('dockerhub', 'docker.io'), upstream('quay')];
    expect(shadowed({ upstreams, reservedKeys: ['gone'] })).toEqual(['dockerhub']);
  });

  it('is silent when the default is another registry, and about names no account can have', () => {
    expect(shadowed({ upstreams: [upstream('quay', 'quay.io')], defaultUpstream: 'quay', reservedKeys: [] })).toEqual(
      [],
    );
    const upstreams = [upstream('hub', 'docker.io'), upstream('a'.repeat(31))];
    expect(shadowed({ upstreams, defaultUpstream: 'hub', reservedKeys: [] })).toEqual([]);
  });
});
