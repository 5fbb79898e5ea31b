// Pulls an image through a host, from a registry in this process, by the packages as they are built. JavaScript, because
// it runs on every Node that the packages support, and the oldest ones run no TypeScript.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';

const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * @param {string} name what is checked, to be printed
 * @param {(cache: import('@proxycache/core').ProxyCache) => import('node:http').RequestListener} mount
 */
export async function checkHost(name, mount) {
  const upstream = await startFakeUpstream();
  const image = upstream.addImage('library/hello', { tag: '1', layerSizes: [3_000_000, 1024] });
  const storage = memoryStorage();
  const cache = createProxyCache({ upstreams: [{ key: 'fake', url: upstream.url }], storage });
  const server = createServer(mount(cache)).listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    await pull(`http://127.0.0.1:${server.address().port}`, image);
    await upstream.stop();
    // By digest everything is answered from what was stored, with the upstream down.
    await pullBlobs(`http://127.0.0.1:${server.address().port}`, image);
  } finally {
    server.close();
    server.closeAllConnections();
    await cache.close();
    await upstream.stop();
  }
  console.log(`node ${process.version}: ${name}`);
}

async function pull(origin, image) {
  const version = await fetch(`${origin}/v2/`);
  assert.equal(version.status, 200);

  const manifest = await fetch(`${origin}/v2/fake/library/hello/manifests/1`);
  assert.equal(manifest.status, 200, await manifest.clone().text());
  assert.equal(manifest.headers.get('docker-content-digest'), image.root.digest);
  assert.equal(digestOf(Buffer.from(await manifest.arrayBuffer())), image.root.digest);

  await pullBlobs(origin, image);

  const push = await fetch(`${origin}/v2/fake/library/hello/blobs/uploads/`, { method: 'POST' });
  assert.equal(push.status, 403);
  assert.equal((await push.json()).errors[0].code, 'DENIED');
}

async function pullBlobs(origin, image) {
  for (const { digest, size } of image.blobs) {
    const url = `${origin}/v2/fake/library/hello/blobs/${digest}`;
    const blob = await fetch(url);
    assert.equal(digestOf(Buffer.from(await blob.arrayBuffer())), digest);
    const head = await fetch(url, { method: 'HEAD' });
    assert.equal(head.headers.get('content-length'), `${size}`);
    const range = await fetch(url, { headers: { range: 'bytes=1-10' } });
    assert.equal(range.status, 206);
    assert.equal((await range.arrayBuffer()).byteLength, 10);
  }
}
