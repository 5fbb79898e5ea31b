// Hosts that are CommonJS: the packages are ES modules, which `await import()` brings in on every Node they support.
const express = require('express');

async function main() {
  const { checkHost } = await import('./check-host.mjs');

  const { createNodeHandler } = await import('@proxycache/node-http');
  await checkHost('a CommonJS host pulls through node-http', (cache) => createNodeHandler(cache));

  const { proxyCache: expressProxyCache } = await import('@proxycache/express');
  await checkHost('a CommonJS host pulls through Express', (cache) => express().use(expressProxyCache(cache)));

  const { default: Koa } = await import('koa');
  const { proxyCache: koaProxyCache } = await import('@proxycache/koa');
  await checkHost('a CommonJS host pulls through Koa', (cache) => new Koa().use(koaProxyCache(cache)).callback());
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
