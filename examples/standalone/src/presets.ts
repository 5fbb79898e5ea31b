import type { UpstreamOptions } from '@proxycache/core';

type Own = Partial<UpstreamOptions>;

const preset = (base: UpstreamOptions) => (own: Own) => ({ ...base, ...own });

export const presets = {
  'docker-hub': preset({
    key: 'docker-hub',
    url: 'https://registry-1.docker.io',
    hosts: ['docker.io', 'index.docker.io', 'registry-1.docker.io'],
    library: true,
    tokenHosts: ['auth.docker.io'],
    deniedMayMeanAbsent: true,
  }),
  ghcr: preset({ key: 'ghcr.io', url: 'https://ghcr.io', hosts: ['ghcr.io'] }),
  quay: preset({ key: 'quay.io', url: 'https://quay.io', hosts: ['quay.io'] }),
  kubernetes: preset({ key: 'registry.k8s.io', url: 'https://registry.k8s.io', hosts: ['registry.k8s.io'] }),
};

export type PresetName = keyof typeof presets;
export const presetNames = Object.keys(presets) as PresetName[];
