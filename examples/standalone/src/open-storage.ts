import { resolve } from 'node:path';
import { type Coordinator, type FileBlobs, fileBlobs, fileStorage, type Storage, tiered } from '@proxycache/core';
import type { RedisOptions } from '@proxycache/redis';
import type { Logger } from 'pino';
import { buildTls } from './build-upstream.ts';
import type { Config } from './config-schema.ts';
import type { LoadedConfig } from './load-config.ts';
import { renameOption } from './rename-option.ts';

/** A storage, and how to let go of what it holds, after the cache was closed. */
export interface OpenStorage {
  storage: Storage;
  close(): Promise<void>;
}

type RedisConfig = NonNullable<Config['storage']['metadata']>['redis'];
type S3Config = NonNullable<Config['storage']['blobs']>['s3'];

/**
 * A folder of this machine, and in the place of its parts what the configuration has elsewhere. Nothing is asked yet: a
 * Redis or an S3 that is away must not keep a server from starting. Their clients are loaded only where they are configured.
 *
 * @param parts.coordinator of the workers of this machine; with Redis that coordinates, for all machines
 * @throws ProxyCacheError `invalid-options` naming the path, and what `fileStorage` throws
 */
export async function openStorage({
  loaded,
  coordinator,
  logger,
}: {
  loaded: LoadedConfig;
  coordinator?: Coordinator;
  logger: Logger;
}): Promise<OpenStorage> {
  const { config, folder } = loaded;
  const { directory, durable = false, spool, metadata, blobs, local: near } = config.storage;
  const local = fileStorage(resolve(folder, directory), { durable });
  const spoolDirectory = spool === undefined ? local.spoolDirectory : resolve(folder, spool);
  const redis = metadata && (await openRedis(metadata.redis, { folder, logger }));
  const s3 = blobs && (await openS3(blobs.s3, logger));
  const shared = redis?.coordinator ?? coordinator;
  return {
    storage: {
      ...local,
      spoolDirectory,
      ...(redis && { metadata: redis.metadata }),
      ...(s3 && { blobs: near ? tiered({ local: openNear(near, folder), remote: s3 }) : s3 }),
      ...(shared && { coordinator: shared }),
    },
    async close() {
      await Promise.all([redis?.metadata.close(), redis?.coordinator.close(), s3?.close()]);
    },
  };
}

/**
 * Looks at what a configuration says of storage as {@link openStorage} does, but makes no folder, and asks and connects to
 * nothing.
 *
 * @throws ProxyCacheError `invalid-options` naming the path
 */
export async function checkStorage({ config, folder }: LoadedConfig, logger: Logger): Promise<void> {
  const { metadata, blobs } = config.storage;
  if (metadata) {
    const { checkRedisOptions } = await import('@proxycache/redis');
    const options = redisOptions(metadata.redis, folder);
    renameOption(ofRedis, () => checkRedisOptions(options));
  }
  if (blobs) await (await openS3(blobs.s3, logger)).close();
}

function openNear({ directory, ...bounds }: NonNullable<Config['storage']['local']>, folder: string): FileBlobs {
  return fileBlobs(resolve(folder, directory), bounds);
}

const ofRedis = { path: 'storage.metadata.redis', prefix: /^redis\w*: / };

function redisOptions({ tls, ...rest }: RedisConfig, folder: string): RedisOptions {
  const { insecure, ca, cert, key } = tls ? buildTls(tls, { path: `${ofRedis.path}.tls`, folder }) : {};
  return {
    ...rest,
    ...(tls && {
      tls: {
        ...(ca !== undefined && { ca: [ca].flat() }),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
        ...(tls.servername !== undefined && { servername: tls.servername }),
        ...(insecure && { rejectUnauthorized: false }),
      },
    }),
  };
}

async function openRedis(config: RedisConfig, { folder, logger }: { folder: string; logger: Logger }) {
  const { redisMetadata } = await import('@proxycache/redis');
  const options = redisOptions(config, folder);
  return renameOption(ofRedis, () => {
    const metadata = redisMetadata({
      ...options,
      observer({ type, ...fields }) {
        if (type === 'redis-lost') logger.warn(fields, 'Redis is away: pulls go on without it');
        else logger.info(fields, 'Redis answers');
      },
    });
    return { metadata, coordinator: metadata.coordinator() };
  });
}

async function openS3(config: S3Config, logger: Logger) {
  const { s3Blobs } = await import('@proxycache/s3');
  const { accessKeyId, secretAccessKey, sessionToken, checksums, storageClass, ...rest } = config;
  const { region, endpoint, forcePathStyle, ...ours } = rest;
  // The SDK signs for a region, also where there is none.
  const signedFor = region ?? (endpoint === undefined ? undefined : 'us-east-1');
  return renameOption({ path: 'storage.blobs.s3', prefix: /^s3\w*: / }, () =>
    s3Blobs({
      ...ours,
      options: {
        ...(signedFor !== undefined && { region: signedFor }),
        ...(endpoint !== undefined && { endpoint }),
        ...(forcePathStyle !== undefined && { forcePathStyle }),
        ...(checksums === 'required' && { requestChecksumCalculation: 'WHEN_REQUIRED' }),
        ...(accessKeyId !== undefined &&
          secretAccessKey !== undefined && {
            credentials: { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) },
          }),
      },
      ...(storageClass !== undefined && { upload: { StorageClass: storageClass as never } }),
      observer: ({ type, ...fields }) => logger.warn(fields, type),
    }),
  );
}
