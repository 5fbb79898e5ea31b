import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Daemon, startDaemon } from '../peers/daemon.ts';
import { onFreePort } from '../peers/free-port.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type RedisServer, startRedisServer, tellRedis } from './redis-server.ts';

/** A primary with a replica, and three sentinels that watch them under the name `main`. */
export interface WatchedRedis {
  primary: RedisServer;
  replica: RedisServer;
  /** The sentinels, as `host:port`. */
  nodes: readonly string[];
  /** Stops a sentinel from answering. */
  freezeSentinel(at: number): void;
  close(): Promise<void>;
}

/** Starts them, and waits until a failover is possible. */
export async function startWatchedRedis(program: string): Promise<WatchedRedis> {
  const folder = makeTemporaryFolder('sentinels');
  const primary = await startRedisServer(program);
  const replica = await startRedisServer(program, ['--replicaof', '127.0.0.1', String(primary.port)]);
  // A sentinel that looks too early looks again after 10 s.
  await replica.until(async () => /master_link_status:up/.test(String(await tellRedis(replica.port, 'INFO'))));
  const sentinels: { port: number; started: Daemon }[] = [];
  for (const name of ['a', 'b', 'c']) sentinels.push(await onFreePort((port) => startSentinel(name, port)));

  async function startSentinel(name: string, port: number): Promise<Daemon> {
    const file = join(folder, `${name}.conf`);
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${folder}`,
      `sentinel monitor main 127.0.0.1 ${primary.port} 2`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 3000',
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const daemon = startDaemon(program, [file, '--sentinel']);
    await daemon.says(/Sentinel ID is/);
    return daemon;
  }

  for (const { port, started } of sentinels) {
    await started.until(async () => {
      const quorum = String(await tellRedis(port, 'SENTINEL', 'CKQUORUM', 'main'));
      const replicas = (await tellRedis(port, 'SENTINEL', 'REPLICAS', 'main')) as unknown[];
      return quorum.startsWith('OK 3') && replicas.length === 1;
    });
  }
  return {
    primary,
    replica,
    nodes: sentinels.map(({ port }) => `127.0.0.1:${port}`),
    freezeSentinel: (at) => sentinels[at]?.started.signal('SIGSTOP'),
    async close() {
      await Promise.all(sentinels.map(({ started }) => started.kill()));
      await Promise.all([primary.close(), replica.close()]);
      removeFolder(folder);
    },
  };
}
