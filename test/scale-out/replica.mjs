// A cache that shares its folder and a Redis with others, behind Node's server, as a process that can be killed. Arguments:
// the folder, the upstream's URL, the Redis's URL; with a spool folder of its own and a secret it is as on another host, and
// reads from the others over HTTP. Its first line says where it listens; each event follows as a line.
import { createServer } from 'node:http';
import { createProxyCache, fileStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';

const [, , folder, url, redis, spoolDirectory, secret] = process.argv;
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const server = createServer((req, res) => handle(req, res)).listen(0, '127.0.0.1', () => {
  const own = `http://127.0.0.1:${server.address().port}`;
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url }],
    storage: {
      ...fileStorage(folder),
      metadata: redisMetadata({ url: redis }),
      coordinator: redisCoordinator({ url: redis }),
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
