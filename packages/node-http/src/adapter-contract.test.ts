import { createServer } from 'node:http';
import { adapterContract, casesOf, hostAnswer, listenOnLoopback, type MountAdapter } from '@proxycache/contract';
import { describe, test } from 'vitest';
import { createNodeHandler } from './node-handler.ts';

const mount: MountAdapter = (cache, basePath) => {
  const handler = createNodeHandler(cache, { basePath });
  const server = createServer((req, res) => handler(req, res, () => res.end(hostAnswer(req.url ?? ''))));
  return listenOnLoopback(server, basePath);
};

describe('node-http keeps the adapter contract', () => {
  for (const { name, run } of casesOf(adapterContract)) test(name, () => run(mount));
});
