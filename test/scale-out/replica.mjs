// A cache that shares a storage and a Redis with others, behind Node's server, as a process that can be killed. Its argument
// is JSON: the URLs of `upstream` and `redis`; the `folder` of the storage, or where its blobs are in S3 (`s3`); with a
// `spoolDirectory` of its own and a `secret` it is as on another host, and reads from the others over HTTP. Its first line
// says where it listens; each event follows as a line.
import { createServer } from 'node:http';
import { createProxyCache, fileStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { redisMetadata } from '@proxycache/redis';
import { s3Blobs } from '@proxycache/s3';

const { folder, upstream, redis, s3, spoolDirectory, secret } = JSON.parse(process.argv[2]);
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const server = createServer((req, res) => handle(req, res)).listen(0, '127.0.0.1', () => {
  const own = `http://127.0.0.1:${server.address().port}`;
  const metadata = redisMetadata({ url: redis });
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url: upstream }],
    storage: {
      ...(s3 ? { blobs: s3Blobs(s3) } : fileStorage(folder)),
      metadata,
      coordinator: metadata.coordinator(),
      ...(spoolDirectory && { spoolDirectory }),
    },
    ...(secret && { peers: { url: own, secret } }),
    minFree: 0,
    observer: tell,
  });
  handle = createNodeHandler(cache);
  tell({ url: own });
});
let handle;
