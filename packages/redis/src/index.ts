export type { HostClient } from './host-client.ts';
export type { RedisEvent } from './redis.ts';
export { type RedisCoordinator, redisCoordinator } from './redis-coordinator.ts';
export { type RedisMetadata, redisMetadata } from './redis-metadata.ts';
export type { RedisTls } from './server-link.ts';
export { checkRedisOptions, type RedisOptions } from './settings.ts';
