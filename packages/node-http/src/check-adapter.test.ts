import type { ProxyCache } from '@proxycache/core';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import { expect, it, onTestFinished } from 'vitest';
import { createNodeHandler } from './node-handler.ts';

function makeCache(): ProxyCache {
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url: 'http://127.0.0.1:9' }],
    storage: memoryStorage(),
  });
  onTestFinished(() => cache.close());
  return cache;
}

it.each([
  ['nothing', undefined, 'received undefined'],
  ['options', { upstreams: [] }, 'received an object'],
  ['a promise of a cache', Promise.resolve(), 'received a promise; did you forget to await it?'],
])('what is no cache but %s is refused, and not answered for with 500', (_, cache, said) => {
  expect(() => createNodeHandler(cache as never)).toThrow(
    `createNodeHandler: cache: expected what createProxyCache or createAdmin gives, ${said}`,
  );
});

it.each([
  [{ basepath: '/registry' }, 'basepath: there is no such option; there are basePath, context, stalledFor, onError'],
  [{ context: 'user' }, 'context: expected a function, received a string'],
  [{ onError: {} }, 'onError: expected a function, received an object'],
  [null, 'options: expected an object, received null'],
  ['/registry', 'options: expected an object, received a string'],
])('options %j are refused by name', (options, said) => {
  expect(() => createNodeHandler(makeCache(), options as never)).toThrow(`createNodeHandler: ${said}`);
});

it('options that are left out by undefined have their defaults', () => {
  const none = { basePath: undefined, context: undefined, stalledFor: undefined, onError: undefined };
  expect(createNodeHandler(makeCache(), none as never)).toBeTypeOf('function');
});
