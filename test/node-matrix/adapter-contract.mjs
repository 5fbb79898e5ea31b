// The contract of the adapters: what Node does with sockets differs between its versions more than anything else here.
import { createServer } from 'node:http';
import { adapterContract, casesOf, hostAnswer, listenOnLoopback } from '@proxycache/contract';
import { proxyCache as expressProxyCache } from '@proxycache/express';
import { proxyCache as koaProxyCache } from '@proxycache/koa';
import { createNodeHandler } from '@proxycache/node-http';
import express from 'express';
import Koa from 'koa';

const adapters = {
  'node-http': (cache, basePath) => {
    const handler = createNodeHandler(cache, { basePath });
    return (req, res) => handler(req, res, () => res.end(hostAnswer(req.url)));
  },
  express: (cache, prefix) =>
    express()
      .use(prefix === '' ? '/' : prefix, expressProxyCache(cache))
      .use((req, res) => res.end(hostAnswer(req.url))),
  koa: (cache, basePath) => {
    const app = new Koa().use(koaProxyCache(cache, { basePath })).use((ctx) => {
      ctx.body = hostAnswer(ctx.url);
    });
    app.silent = true;
    return app.callback();
  },
};

for (const [name, listenerOf] of Object.entries(adapters)) {
  const cases = casesOf(adapterContract);
  for (const { name: rule, run } of cases) {
    try {
      await run((cache, prefix) => listenOnLoopback(createServer(listenerOf(cache, prefix)), prefix));
    } catch (error) {
      console.error(`node ${process.version}: ${name}: ${rule}:`, error);
      process.exitCode = 1;
    }
  }
  console.log(`node ${process.version}: ${name} was held to ${cases.length} rules`);
}
