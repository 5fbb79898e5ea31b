/** What replicas share. */
export interface Shared {
  redisPort: number;
  s3Port: number;
  bucket: string;
  secret: string;
  upstreams: readonly { key: string; url: string }[];
}

/** A replica's configuration file: docs/configuration.md has all keys. */
export function replicaConfig(shared: Shared, { port, directory }: { port: number; directory: string }): string {
  const [first] = shared.upstreams;
  const config = {
    listen: { port },
    storage: {
      // Of its own: transfers under way.
      directory,
      metadata: { redis: { url: `redis://127.0.0.1:${shared.redisPort}` } },
      blobs: {
        s3: {
          bucket: shared.bucket,
          endpoint: `http://127.0.0.1:${shared.s3Port}`,
          forcePathStyle: true,
          // The little S3 of this example knows no others, and no newer checksums.
          accessKeyId: 'S3RVER',
          secretAccessKey: 'S3RVER',
          checksums: 'required',
        },
      },
    },
    // Where the other reads what this one is bringing in.
    peers: { url: `http://127.0.0.1:${port}`, secret: shared.secret },
    ...(first && {
      upstreams: shared.upstreams.map((upstream) => ({ ...upstream, freshFor: '10m' })),
      defaultUpstream: first.key,
    }),
  };
  return JSON.stringify(config, undefined, 2);
}
