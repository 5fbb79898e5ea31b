import { resolve } from 'node:path';
import { ProxyCacheError, type ProxyCacheOptions, registry, type UpstreamOptions } from '@proxycache/core';
import { buildUpstream } from './build-upstream.ts';
import { checkExposure } from './check-exposure.ts';
import { checkRules } from './check-rules.ts';
import type { Config } from './config-schema.ts';
import type { UpstreamConfig } from './config-upstream.ts';
import type { Flags } from './flags.ts';
import type { LoadedConfig } from './load-config.ts';
import { secretsFolder } from './secrets-folder.ts';

/** What a configuration has that lists no upstreams. */
const defaults: { upstreams: readonly UpstreamConfig[]; defaultUpstream: string } = {
  // The keys of the presets `ghcr` and `quay` could be accounts of Docker Hub, which they would hide.
  upstreams: [
    { source: 'docker-hub' },
    { source: 'ghcr', key: 'ghcr.io' },
    { source: 'quay', key: 'quay.io' },
    { source: 'kubernetes', key: 'registry.k8s.io' },
  ],
  defaultUpstream: 'docker-hub',
};

/**
 * A configuration over which the command line was laid: what it says counts more.
 *
 * @throws ProxyCacheError `invalid-options` for workers beside what is one process's
 */
export function applyFlags({ config, folder }: LoadedConfig, flags: Flags): LoadedConfig {
  const { host = config.listen.host, port = config.listen.port, workers = config.workers } = flags;
  const ofOne = { admin: config.admin, metrics: config.metrics, 'storage.local': config.storage.local };
  const beside = Object.entries(ofOne).find(([, one]) => one !== undefined)?.[0];
  if (workers > 1 && beside !== undefined) {
    throw new ProxyCacheError('invalid-options', `--workers: expected 1 beside ${beside}, which is of one process`);
  }
  // From the command line a relative folder means one in the working directory.
  const directory = flags.data === undefined ? config.storage.directory : resolve(flags.data);
  const defaultUpstream = flags.defaultUpstream ?? config.defaultUpstream;
  return {
    config: {
      ...config,
      workers,
      storage: { ...config.storage, directory },
      listen: { ...config.listen, host, port },
      ...(defaultUpstream !== undefined && { defaultUpstream }),
    },
    folder,
  };
}

/**
 * Core's options but its storage. Nothing is asked and nothing made.
 *
 * @throws ProxyCacheError `invalid-options` naming the path
 */
export function buildOptions(
  { config, folder }: LoadedConfig,
  moved: Flags['upstreams'],
): Omit<ProxyCacheOptions, 'storage'> {
  const listed = config.upstreams ?? defaults.upstreams;
  const configured = listed.map((one, index) => buildUpstream(one, { path: `upstreams[${index}]`, folder }));
  const upstreams = moved.reduce(moveUpstream, configured);
  checkExposure(config, upstreams);
  checkRules(config, upstreams);
  const { directory, durable, spool, metadata, blobs, local, ...room } = config.storage;
  const { maxConnections, shutdownWithin, stalledFor, shutdownIngests, ...bounds } = config.limits;
  const defaultUpstream = config.defaultUpstream ?? (config.upstreams ? undefined : defaults.defaultUpstream);
  return {
    ...coreKeys(config),
    ...keptUpstreams(config, folder),
    ...room,
    ...bounds,
    ...(defaultUpstream !== undefined && { defaultUpstream }),
    upstreams,
  };
}

/**
 * Adds an upstream, or moves the one of its key: what it presents itself with was meant for the place it leaves, and its
 * further endpoints have the content of that place.
 */
function moveUpstream(
  upstreams: readonly UpstreamOptions[],
  { key, url }: { key: string; url: string },
): readonly UpstreamOptions[] {
  const found = upstreams.find((upstream) => upstream.key === key);
  if (!found) return [...upstreams, registry(url, { key })];
  const { auth, tls, endpoints, ...kept } = found;
  return upstreams.map((upstream) => (upstream === found ? { ...kept, url } : upstream));
}

/** Where what is changed of upstreams at run time is kept. */
function keptUpstreams({ persistUpstreams }: Config, folder: string): Pick<ProxyCacheOptions, 'persistUpstreams'> {
  if (!persistUpstreams) return {};
  const { secretsFolder: secrets, ...kept } = persistUpstreams;
  return {
    persistUpstreams: { ...kept, ...(secrets !== undefined && { secretOf: secretsFolder(resolve(folder, secrets)) }) },
  };
}

/** The keys that mean to core what they mean here. */
function coreKeys(
  config: Config,
): Pick<
  ProxyCacheOptions,
  | 'groups'
  | 'peers'
  | 'publicUrl'
  | 'reservedKeys'
  | 'callerKey'
  | 'retention'
  | 'catalog'
  | 'publicContent'
  | 'offload'
> {
  const { groups, peers, publicUrl, reservedKeys, callerKey, retention, catalog, publicContent, offload } = config;
  return {
    ...(callerKey !== undefined && { callerKey }),
    ...(groups !== undefined && { groups }),
    ...(peers !== undefined && { peers }),
    ...(publicUrl !== undefined && { publicUrl }),
    ...(reservedKeys !== undefined && { reservedKeys }),
    ...(retention !== undefined && { retention }),
    ...(catalog !== undefined && { catalog }),
    ...(publicContent !== undefined && { publicContent }),
    ...(offload !== undefined && { offload }),
  };
}
