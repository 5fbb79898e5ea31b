export { type ExpressMiddleware, type ExpressOptions, type MountedRequest, proxyCache } from './proxy-cache.ts';
