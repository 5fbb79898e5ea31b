// A cache that shares its folder and a Redis with others, behind Node's server, as a process that can be killed. Arguments:
// the folder, the upstream's URL, the Redis's URL. Its first line says where it listens; each event follows as a line.
import { createServer } from 'node:http';
import { createProxyCache, fileStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';

const [, , folder, url, redis] = process.argv;
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const cache = createProxyCache({
  upstreams: [{ key: 'up', url }],
  storage: {
    ...fileStorage(folder),
    metadata: redisMetadata({ url: redis }),
    coordinator: redisCoordinator({ url: redis }),
  },
  minFree: 0,
  observer: tell,
});
const server = createServer(createNodeHandler(cache)).listen(0, '127.0.0.1', () => {
  tell({ url: `http://127.0.0.1:${server.address().port}` });
});
