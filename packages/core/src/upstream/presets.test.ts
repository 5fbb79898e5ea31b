import { describe, expect, it } from 'vitest';
import { checkOptions } from '../check-options.ts';
import { memoryStorage } from '../store/memory-storage.ts';
import type { CredentialProvider } from './credentials.ts';
import { artifactRegistry, dockerHub, ecr, ghcr, gitlab, harbor, kubernetes, quay, registry } from './presets.ts';

const query = { upstream: 'x', refused: false, signal: new AbortController().signal };
const getToken = async () => 't0ken';
const all = [
  dockerHub(),
  ghcr(),
  quay(),
  kubernetes(),
  gitlab(),
  harbor('https://harbor.corp'),
  registry('http://localhost:5000'),
  ecr({ account: '123456789012', region: 'eu-central-1', getToken }),
  artifactRegistry({ location: 'europe-west1', getToken }),
];

describe('presets', () => {
  it('are legal together: keys and hosts differ', () => {
    checkOptions({ upstreams: all, storage: memoryStorage() });
    const keys = all.map(({ key }) => key);
    expect(keys).toEqual(['docker-hub', 'ghcr', 'quay', 'k8s', 'gitlab', 'harbor', 'registry', 'ecr', 'gar']);
    const hosts = all.flatMap((options) => options.hosts ?? []);
    expect(new Set(hosts).size).toBe(hosts.length);
  });

  it('know Docker Hub: its three names, its token host, its library and its 401 for what is missing', () => {
    expect(dockerHub()).toEqual({
      key: 'docker-hub',
      url: 'https://registry-1.docker.io',
      hosts: ['docker.io', 'index.docker.io', 'registry-1.docker.io'],
      library: true,
      tokenHosts: ['auth.docker.io'],
      deniedMayMeanAbsent: true,
    });
  });

  it('give way to every field of the overrides', () => {
    const auth = { username: 'ann', password: 'x' };
    expect(dockerHub({ key: 'hub', auth, url: 'https://mirror.corp' })).toMatchObject({
      key: 'hub',
      auth,
      url: 'https://mirror.corp',
      library: true,
    });
    expect(harbor('https://harbor.corp:8443/x', { key: 'corp' })).toEqual({
      key: 'corp',
      url: 'https://harbor.corp:8443/x',
      hosts: ['harbor.corp:8443'],
    });
  });

  it('keep a field of which the override is undefined', () => {
    const none = undefined as never;
    expect(dockerHub({ key: 'hub', hosts: none, library: none })).toEqual({ ...dockerHub(), key: 'hub' });
  });

  it('leave a URL that is none to the check of options', () => {
    expect(registry('harbor.corp')).toEqual({ key: 'registry', url: 'harbor.corp', hosts: [] });
  });

  it('take a token of ECR as GetAuthorizationToken gives it, or its password alone', async () => {
    const token = Buffer.from('AWS:pa:ss').toString('base64');
    for (const given of [token, 'pa:ss']) {
      const { auth, url } = ecr({ account: '123456789012', region: 'eu-central-1', getToken: async () => given });
      expect(url).toBe('https://123456789012.dkr.ecr.eu-central-1.amazonaws.com');
      expect(await (auth as CredentialProvider)(query)).toEqual({ username: 'AWS', password: 'pa:ss' });
    }
  });

  it('ask for a token where it is a method of a class', async () => {
    class Account {
      readonly account = '123456789012';
      readonly region = 'eu-central-1';
      readonly location = 'us';
      readonly #token = 'of the class';
      async getToken() {
        return this.#token;
      }
    }
    for (const { auth } of [ecr(new Account()), artifactRegistry(new Account())]) {
      expect(await (auth as CredentialProvider)(query)).toMatchObject({ password: 'of the class' });
    }
  });

  it('give an access token to Artifact Registry as it wants it', async () => {
    const { auth, url } = artifactRegistry({ location: 'us', getToken });
    expect(url).toBe('https://us-docker.pkg.dev');
    expect(await (auth as CredentialProvider)(query)).toEqual({ username: 'oauth2accesstoken', password: 't0ken' });
  });
});
