// Takes a lease and holds it until it is ended: `node lease-holder.mjs <url> <key> <ms>`. Prints the lease's token.
import { redisCoordinator } from '@proxycache/redis';

const [, , url, key, ms] = process.argv;
const coordinator = redisCoordinator({ url });
const lease = await coordinator.acquire(key, { for: Number(ms), value: 'child', signal: new AbortController().signal });
console.log(`token ${lease?.token}`);
