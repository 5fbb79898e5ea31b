// A pull-through cache of Docker Hub in a Koa application: node dist/main.js --port 5000 --data ./proxycache-data
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { createProxyCache, dockerHub, fileStorage } from '@proxycache/core';
import { proxyCache } from '@proxycache/koa';
import Koa from 'koa';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '5000' }, data: { type: 'string', default: './proxycache-data' } },
});

const cache = createProxyCache({ upstreams: [dockerHub()], storage: fileStorage(values.data) });

const app = new Koa();
app.use(proxyCache(cache));
app.use((ctx) => {
  ctx.body = 'images are under /v2/\n';
});

const server = app.listen(Number(values.port), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}, try: docker pull 127.0.0.1:${port}/docker-hub/library/alpine`);
});

const stop = () => {
  server.close();
  void cache.close();
};
process.once('SIGTERM', stop).once('SIGINT', stop);
