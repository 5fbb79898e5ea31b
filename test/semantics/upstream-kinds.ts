import { dockerHub, ecr, ghcr, type UpstreamOptions } from '@proxycache/core';
import {
  type FakeHost,
  type FakeUpstream,
  type FakeUpstreamOptions,
  ociError,
  startFakeHost,
} from '@proxycache/test-kit';
import { onTestFinished } from 'vitest';
import { startUpstream } from './cache-under-test.ts';

/** A registry as it is met in the field, and the options by which a cache speaks to it. */
export interface StartedKind {
  upstream: FakeUpstream;
  /** The host that gives its tokens, where that is another one. */
  tokenHost?: FakeHost;
  options: UpstreamOptions;
  /** The repository at the upstream. */
  repository: string;
  /** Where a client finds it: the path up to `/manifests/`, and the query. */
  path: string;
  query?: string;
  /** Makes its credential worthless at the upstream, where another one can be had. */
  expireCredential?: () => void;
}

/** A row of the table of scenarios. */
export interface UpstreamKind {
  name: string;
  start(): Promise<StartedKind>;
  /** What a client gets once the repository was removed. */
  removed: { status: number; code: string };
  /** GETs of manifests at the upstream that a pull of what has not changed costs, beside its one HEAD. */
  extraGets: number;
}

const repository = 'team/app';

function plain(name: string, fake: FakeUpstreamOptions = {}, extraGets = 0): UpstreamKind {
  return {
    name,
    async start() {
      const upstream = await startUpstream(fake);
      return { upstream, options: { key: 'up', url: upstream.url }, repository, path: `/v2/up/${repository}` };
    },
    removed: { status: 404, code: 'NAME_UNKNOWN' },
    extraGets,
  };
}

/** A host that only gives tokens. */
export async function startTokenHost(): Promise<FakeHost> {
  const host = await startFakeHost({}, () => ociError(404, 'UNSUPPORTED', 'no such endpoint'));
  onTestFinished(() => host.stop());
  return host;
}

async function startDockerHub(users?: Record<string, { password: string }>): Promise<StartedKind> {
  const tokenHost = await startTokenHost();
  const upstream = await startUpstream({
    personality: 'docker-hub',
    auth: { bearer: { at: tokenHost, service: 'registry.docker.io', expiresIn: 300, ...(users && { users }) } },
  });
  const options = dockerHub({
    url: upstream.url,
    tokenHosts: [tokenHost.host],
    ...(users && { auth: { username: 'ann', password: 'hub-password' } }),
  });
  return { upstream, tokenHost, options, repository: 'library/app', path: '/v2/app', query: '?ns=docker.io' };
}

async function startEcr(): Promise<StartedKind> {
  let password = 'credential-1';
  const getToken = async () => Buffer.from(`AWS:${password}`).toString('base64');
  const upstream = await startUpstream({ personality: 'ecr', auth: { basic: { username: 'AWS', password } } });
  return {
    upstream,
    options: ecr({ account: '123456789012', region: 'eu-central-1', getToken }, { url: upstream.url }),
    repository,
    path: `/v2/ecr/${repository}`,
    expireCredential() {
      password = 'credential-2';
      upstream.change({ auth: { basic: { username: 'AWS', password } } });
    },
  };
}

/** The table. */
export const upstreamKinds: readonly UpstreamKind[] = [
  plain('a plain registry'),
  {
    name: 'Docker Hub, anonymous',
    start: () => startDockerHub(),
    removed: { status: 404, code: 'MANIFEST_UNKNOWN' },
    extraGets: 0,
  },
  {
    name: 'Docker Hub, with an account',
    start: () => startDockerHub({ ann: { password: 'hub-password' } }),
    removed: { status: 404, code: 'MANIFEST_UNKNOWN' },
    extraGets: 0,
  },
  {
    name: 'ghcr',
    async start() {
      const upstream = await startUpstream({ personality: 'ghcr', auth: { bearer: { expiresIn: 300 } } });
      return { upstream, options: ghcr({ url: upstream.url }), repository, path: `/v2/ghcr/${repository}` };
    },
    // A refusal of its token service, which says the same of what is private.
    removed: { status: 404, code: 'MANIFEST_UNKNOWN' },
    extraGets: 0,
  },
  { name: 'ECR', start: startEcr, removed: { status: 404, code: 'NAME_UNKNOWN' }, extraGets: 0 },
  // Rule 2: a HEAD that says 404 is confirmed by a GET.
  plain('a chained proxy that answers HEAD with 404', { personality: 'head-404' }, 1),
  plain('a registry that knows no HEAD', { personality: 'head-405' }, 1),
  plain('a registry whose HEAD tells no digest', { personality: 'head-without-digest' }, 1),
  plain('a registry that tells no digest at all', { personality: 'no-digest' }, 1),
  plain('a registry that tells no length', { personality: 'no-content-length' }),
  plain('a registry below a path', { basePath: '/registry' }),
];
