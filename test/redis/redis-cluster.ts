import { onFreePort } from '../peers/free-port.ts';
import { type RedisServer, startRedisServer, tellRedis } from './redis-server.ts';

/** Three primaries with a third of the slots each, and a replica of the first one. */
export interface RedisCluster {
  primaries: readonly RedisServer[];
  replica: RedisServer;
  /** The primaries, as `host:port`. */
  nodes: readonly string[];
  close(): Promise<void>;
}

const slots = 16_384;

/** Starts it, and waits until all of it agrees. */
export async function startRedisCluster(program: string): Promise<RedisCluster> {
  const starting = Array.from({ length: 4 }, () => onFreePort((bus) => startNode(program, bus)));
  const nodes = (await Promise.all(starting)).map(({ port, started }) => ({ bus: port, server: started }));
  const close = async () => void (await Promise.all(nodes.map(({ server }) => server.close())));
  try {
    return { ...(await join(nodes)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Makes one cluster of servers that know nothing of each other. */
async function join(nodes: readonly { bus: number; server: RedisServer }[]): Promise<Omit<RedisCluster, 'close'>> {
  const [first, second, third, last] = nodes.map(({ server }) => server);
  const primaries = [first!, second!, third!];
  const replica = last!;
  const ports = nodes.map(({ server }) => server.port);

  for (const [at, { port }] of primaries.entries()) {
    const [from, to] = [Math.ceil((slots / 3) * at), Math.ceil((slots / 3) * (at + 1)) - 1];
    await tellRedis(port, 'CLUSTER', 'ADDSLOTSRANGE', String(from), String(to));
  }
  for (const [at, { bus, server }] of nodes.entries()) {
    await tellRedis(server.port, 'CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1));
    if (at > 0) await tellRedis(ports[0]!, 'CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(bus));
  }
  const all = async (word: string) => {
    const infos = await Promise.all(ports.map((port) => tellRedis(port, 'CLUSTER', 'INFO')));
    return infos.every((info) => String(info).includes(word));
  };
  await replica.until(() => all('known_nodes:4'));
  await tellRedis(replica.port, 'CLUSTER', 'REPLICATE', String(await tellRedis(ports[0]!, 'CLUSTER', 'MYID')));
  await replica.until(() => all('state:ok'));
  await replica.until(async () => /master_link_status:up/.test(String(await tellRedis(replica.port, 'INFO'))));
  return {
    primaries,
    replica,
    nodes: primaries.map(({ port }) => `127.0.0.1:${port}`),
  };
}

function startNode(program: string, bus: number): Promise<RedisServer> {
  return startRedisServer(program, [
    ...['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '1000'],
    // A replica takes over soon, whatever it has.
    ...['--repl-diskless-sync-delay', '0', '--cluster-replica-validity-factor', '0'],
    // What is on other servers is served without those that are away.
    ...['--cluster-require-full-coverage', 'no'],
  ]);
}
