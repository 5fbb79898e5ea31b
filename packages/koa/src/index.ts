export { type KoaContext, type KoaMiddleware, type KoaOptions, proxyCache } from './proxy-cache.ts';
