// What a Redis that goes away costs pulls: requests of clients that pull one image after the other, a new one and one
// that was pulled before in turn, with and without each fault, in turn.
// Run after `npm run build`: node test/redis/faults-bench.mjs [rounds]. Needs redis-server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createProxyCache, digestOf, fileStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { redisCoordinator, redisMetadata } from '@proxycache/redis';
import { startFakeUpstream } from '@proxycache/test-kit';

const rounds = Number(process.argv[2] ?? 3);
const answerWithin = 1_000;
const clients = 4;
const runMs = 5_000;
const faultAtMs = 1_500;
const faultForMs = 2_000;

async function freePort() {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

const folder = mkdtempSync(join(tmpdir(), 'redis-faults-'));

/** A server program that can be stopped, frozen and started again. */
async function startServer(port, args, ready) {
  let child;
  const start = async () => {
    child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: folder });
    for await (const chunk of child.stdout) if (ready.test(String(chunk))) break;
    child.stdout.resume();
  };
  const end = async (signal) => {
    const gone = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill(signal);
    await gone;
  };
  await start();
  return { port, start, end, signal: (signal) => child.kill(signal) };
}

async function startRedis(more = []) {
  const port = await freePort();
  const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--save', '', ...more];
  return startServer(port, args, /Ready to accept connections/);
}

async function startSentinels(primary) {
  const replica = await startRedis(['--replicaof', '127.0.0.1', String(primary.port)]);
  const sentinels = [];
  for (let at = 0; at < 3; at++) {
    const port = await freePort();
    const file = join(folder, `sentinel-${port}.conf`);
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `sentinel monitor main 127.0.0.1 ${primary.port} 2`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 3000',
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    sentinels.push(await startServer(port, [file, '--sentinel'], /Sentinel ID is/));
  }
  // They find one another, and the replica.
  await sleep(4_000);
  return { nodes: sentinels.map(({ port }) => `127.0.0.1:${port}`), all: [replica, ...sentinels] };
}

/** Pulls for a while, and gives the time of each request in ms, and how many failed. */
async function run(where, fault) {
  const upstream = await startFakeUpstream();
  const own = mkdtempSync(join(folder, 'cache-'));
  const options = { ...where, answerWithin, prefix: `run-${Math.random().toString(36).slice(2)}` };
  const [metadata, coordinator] = [redisMetadata(options), redisCoordinator(options)];
  const storage = { ...fileStorage(own), metadata, coordinator };
  const cache = createProxyCache({ upstreams: [{ key: 'up', url: upstream.url }], storage, minFree: 0 });
  const server = createServer(createNodeHandler(cache)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const base = `http://127.0.0.1:${server.address().port}/v2/up`;
  const times = [];
  let failed = 0;
  let made = 0;
  const images = [];
  const ask = async (path, digest) => {
    const began = performance.now();
    try {
      const response = await fetch(`${base}/${path}`);
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (response.status !== 200 || digestOf(bytes) !== digest) failed++;
    } catch {
      failed++;
    }
    times.push(performance.now() - began);
  };
  const endAt = performance.now() + runMs;
  const client = async () => {
    for (let turn = 0; performance.now() < endAt; turn++) {
      let next = images[made % Math.max(images.length, 1)];
      if (turn % 2 === 0 || next === undefined) {
        const repository = `team/app-${made++}`;
        const image = upstream.addImage(repository, { tag: '1', seed: repository, layerSizes: [90_000, 1_000] });
        next = { repository, image };
        images.push(next);
      }
      const { repository, image } = next;
      await ask(`${repository}/manifests/1`, image.root.digest);
      await ask(`${repository}/manifests/${image.root.digest}`, image.root.digest);
      await Promise.all(image.blobs.map(({ digest }) => ask(`${repository}/blobs/${digest}`, digest)));
      await sleep(10);
    }
  };
  const faulty = (async () => {
    await sleep(faultAtMs);
    await fault?.begin();
    await sleep(faultForMs);
    await fault?.end();
  })();
  await Promise.all([faulty, ...Array.from({ length: clients }, client)]);
  server.closeAllConnections();
  server.close();
  await cache.close();
  await Promise.all([metadata.close(), coordinator.close()]);
  await upstream.stop();
  rmSync(own, { recursive: true, force: true });
  return { times: times.sort((a, b) => a - b), failed };
}

const at = (times, part) => times[Math.min(Math.floor(times.length * part), times.length - 1)] ?? 0;
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

function tell(name, results) {
  const of = (key) => {
    const [p50, p99, most] = [0.5, 0.99, 1].map((part) => median(results.map((one) => at(one[key].times, part))));
    const [failed, count] = ['failed', 'times'].map((what) =>
      results.reduce((sum, one) => sum + (what === 'failed' ? one[key].failed : one[key].times.length), 0),
    );
    return { p50, p99, most, failed, count };
  };
  const [without, withIt] = [of('without'), of('with')];
  const bound = answerWithin + 1.25 * without.p99;
  for (const [label, { p50, p99, most, failed, count }] of [
    ['without', without],
    ['with', withIt],
  ]) {
    const figures = [p50, p99, most].map((ms) => ms.toFixed(1).padStart(8)).join(' ');
    console.log(
      `${name.padEnd(12)} ${label.padEnd(8)} ${figures} ms (p50, p99, longest), ${failed} of ${count} failed`,
    );
  }
  console.log(`${name.padEnd(12)} p99 may be ${bound.toFixed(1)} ms: ${withIt.p99 <= bound ? 'kept' : 'NOT KEPT'}`);
}

const redis = await startRedis();
const started = [redis];
try {
  const where = { url: `redis://127.0.0.1:${redis.port}` };
  const faults = {
    stopped: { begin: () => redis.end('SIGTERM'), end: redis.start },
    killed: { begin: () => redis.end('SIGKILL'), end: redis.start },
    frozen: { begin: () => redis.signal('SIGSTOP'), end: () => redis.signal('SIGCONT') },
    restarted: {
      async begin() {
        await redis.end('SIGKILL');
        await redis.start();
      },
      end: () => undefined,
    },
  };
  await run(where);
  for (const [name, fault] of Object.entries(faults)) {
    const results = [];
    for (let round = 0; round < rounds; round++) {
      results.push({ without: await run(where), with: await run(where, fault) });
    }
    tell(name, results);
  }
  const failovers = [];
  for (let round = 0; round < rounds; round++) {
    const primary = await startRedis();
    const { nodes, all } = await startSentinels(primary);
    started.push(...all);
    const sentinel = { sentinel: { name: 'main', nodes } };
    const fault = { begin: () => primary.end('SIGKILL'), end: () => undefined };
    failovers.push({ without: await run(sentinel), with: await run(sentinel, fault) });
    for (const one of all) await one.end('SIGKILL');
    started.splice(-all.length);
  }
  tell('failed over', failovers);
} finally {
  for (const one of started) await one.end('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
