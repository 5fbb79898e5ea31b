import { describe, expect, it } from 'vitest';
import { checkOptions } from './check-options.ts';
import { memoryStorage } from './store/memory-storage.ts';
import type { UpstreamOptions } from './upstream/upstream-options.ts';

const check = (fields: object) =>
  checkOptions({
    upstreams: [{ key: 'hub', url: 'https://registry.example', ...fields } as UpstreamOptions],
    storage: memoryStorage(),
  });

describe('options of an upstream', () => {
  it.each([
    { allowPrivate: ['cdn.corp', 'cdn.corp:8443', '10.0.0.0/8', 'fd00::1'] },
    { tokenHosts: ['auth.corp', 'auth.corp:8443', '[::1]:5000'] },
    { auth: 'anonymous' },
    { auth: { username: 'ann', password: '' } },
    { auth: { token: 'x' } },
    { auth: async () => ({ token: 'x' }) },
    { auth: { usernameFile: '/a', passwordFile: '/b' } },
    { auth: { helper: 'ecr-login' } },
    { auth: { exec: ['get-token'] } },
  ])('may be $allowPrivate $tokenHosts $auth', (fields) => {
    expect(() => check(fields)).not.toThrow();
  });

  it.each([
    [{ allowPrivate: ['10.0.0.0/33'] }, 'upstreams[0].allowPrivate[0]: expected a host, an address or a CIDR block'],
    [{ allowPrivate: '10.0.0.0/8' }, 'upstreams[0].allowPrivate: expected a list'],
    [{ tokenHosts: ['https://auth.corp'] }, 'upstreams[0].tokenHosts[0]: expected a host or host:port'],
    [{ auth: { username: 'ann' } }, 'upstreams[0].auth: expected "anonymous", {username, password}'],
    [{ auth: { helper: '../../bin/sh' } }, 'upstreams[0].auth: '],
    [{ auth: { exec: [] } }, 'upstreams[0].auth: '],
    [{ auth: { exec: [1] } }, 'upstreams[0].auth: '],
    [{ auth: null }, 'upstreams[0].auth: '],
  ])('%j are refused by path and reason', (fields, message) => {
    expect(() => check(fields)).toThrow(message);
  });

  it('that are wrong are not shown where they may be a secret', () => {
    expect(() => check({ auth: 's3cr3t' })).toThrow(/^(?!.*s3cr3t)/);
    expect(() => check({ auth: { user: 's3cr3t' } })).toThrow(/^(?!.*s3cr3t)/);
  });
});
