// A cache whose blobs live in memory, the ones used lately only: for a build machine that pulls the same few images.
// Run: node dist/main.js [port], then: docker pull 127.0.0.1:5000/library/alpine
import { createServer } from 'node:http';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { lruBlobs } from './lru-blobs.ts';

const port = Number(process.argv[2] ?? 5000);

const cache = createProxyCache({
  upstreams: [
    {
      key: 'docker-hub',
      url: 'https://registry-1.docker.io',
      hosts: ['docker.io'],
      library: true,
      tokenHosts: ['auth.docker.io'],
    },
  ],
  defaultUpstream: 'docker-hub',
  storage: { ...memoryStorage(), blobs: lruBlobs({ maxBytes: 512 * 1024 * 1024 }) },
});

const server = createServer(createNodeHandler(cache)).listen(port, '127.0.0.1', () => {
  console.log(`listening on ${JSON.stringify(server.address())}`);
});

process.once('SIGTERM', async () => {
  server.close();
  await cache.close();
});
