import { connect } from 'node:net';
import { type CacheUnderTest, startCache, startUpstream } from './cache-under-test.ts';

/** Two registries, one of them the default; each has an image of its own under names that may collide. */
export async function startTwo(mount: { basePath?: string } = {}) {
  const [hub, corp] = [await startUpstream(), await startUpstream()];
  const hubImage = hub.addImage('library/alpine', { tag: '3', seed: 'hub alpine' });
  const nested = hub.addImage('corp/app', { tag: '1', seed: 'the account corp at the hub' });
  const corpImage = corp.addImage('app', { tag: '1', seed: 'corp app' });
  const cache = await startCache(
    {
      upstreams: [
        { key: 'docker-hub', url: hub.url, hosts: ['docker.io', 'registry-1.docker.io'], library: true },
        { key: 'corp', url: corp.url, hosts: ['registry.corp.example', 'registry.corp.example:5000'] },
      ],
      defaultUpstream: 'docker-hub',
      reservedKeys: ['gone'],
    },
    mount,
  );
  return { hub, corp, hubImage, nested, corpImage, cache };
}

/** Sends a request as it is written, which clients and libraries would tidy up. */
export function sendRaw(cache: CacheUnderTest, head: readonly string[]): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(cache.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(`${head.join('\r\n')}\r\n\r\n`));
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve({ status: Number(text.split(' ')[1]), text }));
  });
}
