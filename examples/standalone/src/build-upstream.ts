import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ProxyCacheError, type UpstreamAuth, type UpstreamOptions, type UpstreamTls } from '@proxycache/core';
import type { UpstreamConfig } from './config-upstream.ts';
import { fromPreset } from './presets.ts';

/** Where a part of the configuration stands: for messages, and for paths that are relative to its file. */
export interface Place {
  /** `upstreams[1]` */
  path: string;
  folder: string;
}

/**
 * Core's options of an upstream: its preset's, and what the configuration says beside them.
 *
 * @throws ProxyCacheError `invalid-options` for a file that cannot be read
 */
export function buildUpstream(config: UpstreamConfig, place: Place): UpstreamOptions {
  const { source = 'registry', auth, tls, endpoints, ...rest } = config;
  return fromPreset(source, {
    ...rest,
    ...buildIdentity({ auth, tls }, place),
    ...(endpoints !== undefined && {
      endpoints: endpoints.map((endpoint, index) => {
        if (typeof endpoint === 'string') return endpoint;
        const { auth, tls, ...own } = endpoint;
        return { ...own, ...buildIdentity({ auth, tls }, { ...place, path: `${place.path}.endpoints[${index}]` }) };
      }),
    }),
  });
}

type Identity = Pick<UpstreamOptions, 'auth' | 'tls'>;

function buildIdentity(
  { auth, tls }: { auth: UpstreamConfig['auth'] | undefined; tls: UpstreamConfig['tls'] | undefined },
  place: Place,
): Identity {
  return {
    ...(auth !== undefined && { auth: buildAuth(auth, place) }),
    ...(tls !== undefined && { tls: buildTls(tls, { ...place, path: `${place.path}.tls` }) }),
  };
}

function buildAuth(auth: NonNullable<UpstreamConfig['auth']>, { folder }: Place): UpstreamAuth {
  if (auth === 'anonymous') return auth;
  const { usernameFile, passwordFile } = auth;
  if (usernameFile === undefined || passwordFile === undefined) return auth as UpstreamAuth;
  return { usernameFile: resolve(folder, usernameFile), passwordFile: resolve(folder, passwordFile) };
}

/** Certificates and keys as PEM text, of files where the configuration names such. @throws as {@link buildUpstream} */
export function buildTls(
  tls: { ca?: string | readonly string[]; cert?: string; key?: string; insecure?: boolean },
  place: Place,
): UpstreamTls {
  const { ca, cert, key, insecure } = tls;
  const read = (name: string, value: string) => readPem(value, { ...place, path: `${place.path}.${name}` });
  return {
    ...(ca !== undefined && { ca: [ca].flat().map((one) => read('ca', one)) }),
    ...(cert !== undefined && { cert: read('cert', cert) }),
    ...(key !== undefined && { key: read('key', key) }),
    ...(insecure !== undefined && { insecure }),
  };
}

/** PEM text as it stands in the configuration, or that of the file it names. */
function readPem(value: string, { path, folder }: Place): string {
  if (value.includes('-----BEGIN ')) return value;
  const file = resolve(folder, value);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ProxyCacheError('invalid-options', `${path}: cannot be read: ${reason}`, { cause });
  }
  if (text.includes('-----BEGIN ')) return text;
  throw new ProxyCacheError('invalid-options', `${path}: expected PEM text, received ${file}, which has none`);
}
