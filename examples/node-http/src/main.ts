// A pull-through cache of Docker Hub in a plain Node server: node dist/main.js --port 5000 --data ./proxycache-data
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { createProxyCache, dockerHub, fileStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '5000' }, data: { type: 'string', default: './proxycache-data' } },
});

const cache = createProxyCache({ upstreams: [dockerHub()], storage: fileStorage(values.data) });

const server = createServer(createNodeHandler(cache));
server.listen(Number(values.port), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}, try: docker pull 127.0.0.1:${port}/docker-hub/library/alpine`);
});

const stop = () => {
  server.close();
  void cache.close();
};
process.once('SIGTERM', stop).once('SIGINT', stop);
