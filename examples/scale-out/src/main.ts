import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createBalancer } from './balancer.ts';
import { replicaConfig } from './replica-config.ts';
import { type Service, type ServicePlan, startService } from './service.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '5000' },
    data: { type: 'string' },
    upstream: { type: 'string', multiple: true, default: [] },
  },
});
const data = values.data === undefined ? mkdtempSync(join(tmpdir(), 'proxycache-scale-out-')) : resolve(values.data);
const upstreams = values.upstream.map((text) => {
  const [key = '', ...url] = text.split('=');
  return { key, url: url.join('=') };
});
const find = createRequire(import.meta.url).resolve;
const bucket = 'blobs';
const services: Service[] = [];
let ending: Promise<void> | undefined;

const folderOf = (name: string) => {
  const folder = join(data, name);
  mkdirSync(folder, { recursive: true });
  return folder;
};

async function start(plan: Omit<ServicePlan, 'logFile'>): Promise<Service> {
  const service = await startService({ ...plan, logFile: join(data, `${plan.name}.log`) });
  services.push(service);
  // One that came up while all were being ended.
  if (ending !== undefined) await service.stop();
  return service;
}

async function run(): Promise<void> {
  mkdirSync(data, { recursive: true });
  const redis = await start({
    name: 'redis',
    program: 'redis-server',
    args: (port) => ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--dir', folderOf('redis')],
    ready: /Ready to accept connections/,
  });
  const s3 = await start({
    name: 's3',
    program: process.execPath,
    args: (port) => [
      ...[find('s3rver/bin/s3rver.js'), '--directory', folderOf('s3'), '--address', '127.0.0.1'],
      ...['--port', String(port), '--no-vhost-buckets', '--configure-bucket', bucket],
    ],
    ready: /listening/,
  });
  const shared = { redisPort: redis.port, s3Port: s3.port, bucket, upstreams, secret: randomBytes(32).toString('hex') };
  const replicas = [];
  for (const name of ['replica-1', 'replica-2']) {
    const replica = await start({
      name,
      program: process.execPath,
      args(port) {
        const file = join(data, `${name}.json`);
        writeFileSync(file, replicaConfig(shared, { port, directory: folderOf(name) }), { mode: 0o600 });
        return [find('@proxycache/example-standalone/dist/main.js'), '--config', file];
      },
      ready: /proxycache listening/,
    });
    replicas.push(replica);
  }
  const balancer = createBalancer(replicas.map(({ port }) => port)).listen(Number(values.port), '127.0.0.1');
  await once(balancer, 'listening');
  const address = balancer.address();
  const port = typeof address === 'object' ? address?.port : address;
  const lines = services.map(({ name, pid, port }) => `  ${name.padEnd(9)}  port ${port}  pid ${pid}`);
  process.stdout.write([`http://127.0.0.1:${port} leads to two servers`, ...lines, `  logs in ${data}`, ''].join('\n'));
}

/** The servers first, so that what they bring in is stored. */
async function end(code: number): Promise<never> {
  ending ??= (async () => {
    for (const service of services.toReversed()) await service.stop();
    if (values.data === undefined) rmSync(data, { recursive: true, force: true });
  })();
  await ending;
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void end(0));
await run().catch((error: unknown) => {
  if (ending !== undefined) return;
  process.stderr.write(`scale-out: ${error instanceof Error ? error.message : error}\n`);
  return end(1);
});
