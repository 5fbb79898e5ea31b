import type { z } from 'zod';
import { accessSchema } from './config-access.ts';
import { adminSchema } from './config-admin.ts';
import { admissionSchema } from './config-admission.ts';
import { groupOfUpstreamsSchema } from './config-groups.ts';
import { persistUpstreamsSchema } from './config-persist.ts';
import { retentionSchema } from './config-retention.ts';
import { storageSchema } from './config-storage.ts';
import { upstreamSchema } from './config-upstream.ts';
import {
  about,
  addressOrBlock,
  choice,
  duration,
  durationOrUnlimited,
  flag,
  integer,
  list,
  mapping,
  optional,
  origin,
  processes,
  registryUrl,
  size,
  text,
} from './config-values.ts';

const listenTls = mapping({
  cert: about(text('file'), 'Certificate chain, PEM; read again when it changes'),
  key: about(text('file'), 'Its key, PEM'),
});

const peers = mapping({
  url: about(registryUrl(), 'This very server, as the others reach it'),
  secret: about(text(), 'The same text for all of them, 32 bytes or more; it is never sent'),
});

const metrics = mapping({
  host: about(text('address'), 'Address that `/metrics` is at, for whoever reaches it').prefault('127.0.0.1'),
  port: about(integer(0, 65_535), 'Its port; 0 picks a free one, which is logged'),
});

/** The whole configuration file. docs/configuration.md has its table. */
export const configSchema = mapping({
  storage: storageSchema,
  listen: mapping({
    host: about(text('address'), 'Address to listen at').prefault('127.0.0.1'),
    port: about(integer(0, 65_535), 'Port to listen at; 0 picks a free one').prefault(5000),
    tls: optional(listenTls, ''),
  }).prefault({}),
  workers: about(processes(), 'Processes that serve; `auto`: one a core. Limits and memory hold for each').prefault(1),
  allowAnonymous: about(flag(), "Let whoever reaches it read with the upstreams' credentials").prefault(false),
  access: optional(accessSchema, ''),
  admission: optional(admissionSchema, ''),
  peers: optional(peers, ''),
  publicUrl: optional(origin(), 'Origin for URLs in answers', 'they are relative'),
  trustedProxies: about(list(addressOrBlock()), 'Proxies whose `X-Forwarded-For` is believed').prefault([]),
  upstreams: optional(list(upstreamSchema).meta({ type: 'list' }), ''),
  groups: optional(list(groupOfUpstreamsSchema).meta({ type: 'list' }), ''),
  defaultUpstream: optional(
    text('key'),
    'Upstream or group for paths that name none',
    '`docker-hub` without `upstreams`',
  ),
  reservedKeys: optional(list(text('key')), 'Keys of upstreams that were removed: they answer 404'),
  callerKey: optional(
    text(),
    'Tells callers apart (`credentials: caller`), 32 bytes or more; the same for all servers of a storage',
    'made at each start',
  ),
  metrics: optional(metrics, ''),
  persistUpstreams: optional(persistUpstreamsSchema, ''),
  admin: optional(adminSchema, ''),
  retention: optional(retentionSchema, ''),
  catalog: optional(flag(), '`/v2/_catalog` lists what is stored', 'false'),
  publicContent: optional(flag(), 'Answers by digest may stay in shared HTTP caches', 'false'),
  offload: optional(
    choice('auto', 'off', 'hash', 'ingest'),
    '`hash`: worker threads check the digests of blobs that come in, `auto`: several, or a fast one; `ingest`: and receive them',
    'auto',
  ),
  limits: mapping({
    maxRequests: optional(integer(1, 1_000_000), 'Requests at once; over it 503', '10000'),
    maxIngests: optional(integer(1, 100_000), 'Blob transfers from upstreams at once; over it 503', '256'),
    threads: optional(integer(1, 64), 'Worker threads, for `offload`', '1'),
    maxConnections: about(integer(1, 1_000_000), 'Client connections; over it they are closed').prefault(16_384),
    stalledFor: optional(
      durationOrUnlimited(1),
      'A client that accepts nothing of its answer for so long is cut off; one slower than about 1 MB in it may be',
      '5m',
    ),
    memory: mapping({
      manifests: optional(size(1), 'Manifests and records kept at hand', '64MiB'),
      blobs: optional(size(0), 'Blobs of up to 1 MiB that are pulled again and again; `0`: none', '64MiB'),
      buffers: optional(size(1), 'Buffers of running transfers', '64MiB'),
    }).exactOptional(),
    shutdownWithin: about(duration(), 'On SIGTERM running pulls may go on for this long').prefault('8s'),
    shutdownIngests: about(
      choice('finish', 'drop'),
      'Transfers that nobody reads any more then: let them fill the cache, or end them',
    ).prefault('finish'),
  }).prefault({}),
  log: mapping({
    level: about(
      choice('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
      'Least level that is written',
    ).prefault('info'),
    requests: about(flag(), 'A line for each request, at level `info`').prefault(true),
  }).prefault({}),
})
  .refine(({ peers, storage }) => peers === undefined || storage.metadata !== undefined, {
    path: ['peers'],
    error: 'expected storage.metadata.redis beside it, by which the servers agree who brings a blob in',
  })
  .refine(({ access, publicUrl }) => !access?.tokens || (access.tokens.publicUrl ?? publicUrl) !== undefined, {
    path: ['access', 'tokens', 'publicUrl'],
    error: 'expected where clients reach this server, here or as `publicUrl`',
  })
  .refine(({ admin, workers }) => admin === undefined || workers === 1, {
    path: ['admin'],
    error: 'expected `workers: 1` beside it, as jobs are of one process',
  })
  .refine(({ metrics, workers }) => metrics === undefined || workers === 1, {
    path: ['metrics'],
    error: 'expected `workers: 1` beside it, as each worker would have numbers of its own',
  })
  .refine(({ storage, workers }) => storage.local === undefined || workers === 1, {
    path: ['storage', 'local'],
    error: 'expected `workers: 1` beside it, as its folder is for one process',
  });

export type Config = z.output<typeof configSchema>;
