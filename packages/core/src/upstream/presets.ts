import { withDefaults } from '../runtime/with-defaults.ts';
import type { CredentialProvider, CredentialQuery } from './credentials.ts';
import type { UpstreamOptions } from './upstream-options.ts';

/** Fields that take the place of a preset's own; `auth` is the usual one. */
export type PresetOverrides = Partial<UpstreamOptions>;

const preset = (own: UpstreamOptions, overrides: PresetOverrides): UpstreamOptions => withDefaults(own, overrides);

/** Docker Hub, under the key `docker-hub`: one-component names mean `library/<name>`, tokens come from auth.docker.io. */
export function dockerHub(overrides: PresetOverrides = {}): UpstreamOptions {
  return preset(
    {
      key: 'docker-hub',
      url: 'https://registry-1.docker.io',
      hosts: ['docker.io', 'index.docker.io', 'registry-1.docker.io'],
      library: true,
      tokenHosts: ['auth.docker.io'],
      deniedMayMeanAbsent: true,
    },
    overrides,
  );
}

/** GitHub's registry, under the key `ghcr`. A personal access token goes into `auth` as the password. */
export function ghcr(overrides: PresetOverrides = {}): UpstreamOptions {
  return preset({ key: 'ghcr', url: 'https://ghcr.io', hosts: ['ghcr.io'], deniedMayMeanAbsent: true }, overrides);
}

/** Quay, under the key `quay`. */
export function quay(overrides: PresetOverrides = {}): UpstreamOptions {
  return preset({ key: 'quay', url: 'https://quay.io', hosts: ['quay.io'], deniedMayMeanAbsent: true }, overrides);
}

/** The registry of the Kubernetes project, under the key `k8s`. */
export function kubernetes(overrides: PresetOverrides = {}): UpstreamOptions {
  return preset({ key: 'k8s', url: 'https://registry.k8s.io', hosts: ['registry.k8s.io'] }, overrides);
}

/** The registry of gitlab.com, under the key `gitlab`. One of your own: give `url`, `hosts` and `tokenHosts`. */
export function gitlab(overrides: PresetOverrides = {}): UpstreamOptions {
  return preset(
    {
      key: 'gitlab',
      url: 'https://registry.gitlab.com',
      hosts: ['registry.gitlab.com'],
      tokenHosts: ['gitlab.com'],
      deniedMayMeanAbsent: true,
    },
    overrides,
  );
}

/** A Harbor by its URL, under the key `harbor`. Repositories are named with their project. */
export function harbor(url: string, overrides: PresetOverrides = {}): UpstreamOptions {
  return preset({ key: 'harbor', url, hosts: hostsOf(url) }, overrides);
}

/** Any registry by its URL, under the key `registry`. */
export function registry(url: string, overrides: PresetOverrides = {}): UpstreamOptions {
  return preset({ key: 'registry', url, hosts: hostsOf(url) }, overrides);
}

/** Where a private ECR is, and how its token is had. */
export interface EcrOptions {
  /** The AWS account, twelve digits. */
  account: string;
  /** As in `eu-central-1`. */
  region: string;
  /** `amazonaws.com` (default), `amazonaws.com.cn` and the like. */
  domain?: string;
  /**
   * Gives `authorizationToken` of ECR's GetAuthorizationToken, as it is. Asked every few minutes and when the one before
   * was refused; a token is good for 12 h.
   */
  getToken(query: CredentialQuery): Promise<string>;
}

/** A private ECR, under the key `ecr`. */
export function ecr(options: EcrOptions, overrides: PresetOverrides = {}): UpstreamOptions {
  const { account, region, domain = 'amazonaws.com' } = options;
  const host = `${account}.dkr.ecr.${region}.${domain}`;
  const auth: CredentialProvider = async (query) => {
    const token = await options.getToken(query);
    const decoded = Buffer.from(token, 'base64').toString('utf8');
    // Some tools hand out the password alone.
    const password = decoded.startsWith('AWS:') ? decoded.slice('AWS:'.length) : token;
    return { username: 'AWS', password };
  };
  return preset({ key: 'ecr', url: `https://${host}`, hosts: [host], auth }, overrides);
}

/** Where a Google Artifact Registry is, and how its token is had. */
export interface ArtifactRegistryOptions {
  /** As in `europe-west1` or `us`. */
  location: string;
  /** Gives an OAuth2 access token. Asked every few minutes and when the one before was refused. */
  getToken(query: CredentialQuery): Promise<string>;
}

/** A Google Artifact Registry, under the key `gar`. Repositories are named `<project>/<repository>/<image>`. */
export function artifactRegistry(options: ArtifactRegistryOptions, overrides: PresetOverrides = {}): UpstreamOptions {
  const host = `${options.location}-docker.pkg.dev`;
  const auth: CredentialProvider = async (query) => ({
    username: 'oauth2accesstoken',
    password: await options.getToken(query),
  });
  return preset({ key: 'gar', url: `https://${host}`, hosts: [host], auth }, overrides);
}

/** A URL that is none is told by createProxyCache, with its path in the options. */
function hostsOf(url: string): string[] {
  return URL.canParse(url) ? [new URL(url).host] : [];
}
