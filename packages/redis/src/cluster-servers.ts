import type { Redis, RedisCall } from './redis.ts';
import type { ServerAddress } from './server-link.ts';

/** A command, as it goes to a server. */
export interface ServerCall extends RedisCall {
  key: string;
  args: readonly string[];
}

/** The servers of a cluster, by their names. */
export interface ClusterServers {
  /** Makes sure that there is a connection to it. @returns its name */
  connect(address: ServerAddress): string;
  /** Sends commands one right after the other. @returns the answer to the last */
  send(name: string, calls: readonly ServerCall[]): Promise<unknown>;
  names(): readonly string[];
  /** Lets go of the others, each as soon as what was sent there has ended. */
  keep(names: ReadonlySet<string>): void;
  close(): Promise<void>;
}

type Server = { redis: Redis; underWay: number; isLeft: boolean };

const nameOf = ({ host, port }: ServerAddress): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

export function parseAddress(text: string): ServerAddress {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(colon + 1)) };
}

export function createClusterServers(connect: (address: ServerAddress) => Redis): ClusterServers {
  const servers = new Map<string, Server>();
  const leaving = new Set<Server>();

  function closeWhenIdle(server: Server): void {
    if (!server.isLeft || server.underWay > 0) return;
    leaving.delete(server);
    void server.redis.close();
  }

  function serverAt(name: string, address: ServerAddress): Server {
    const known = servers.get(name);
    if (known !== undefined) return known;
    const server = { redis: connect(address), underWay: 0, isLeft: false };
    servers.set(name, server);
    return server;
  }

  async function send(name: string, calls: readonly ServerCall[]): Promise<unknown> {
    // It may have been let go of since it was named.
    const server = serverAt(name, parseAddress(name));
    server.underWay++;
    try {
      const replies = await Promise.all(calls.map(({ key, args, ...call }) => server.redis.send(key, args, call)));
      return replies.at(-1);
    } finally {
      server.underWay--;
      closeWhenIdle(server);
    }
  }

  return {
    connect(address) {
      const name = nameOf(address);
      serverAt(name, address);
      return name;
    },
    send,
    names: () => [...servers.keys()],
    keep(names) {
      for (const [name, server] of servers) {
        if (names.has(name)) continue;
        servers.delete(name);
        leaving.add(server);
        server.isLeft = true;
        closeWhenIdle(server);
      }
    },
    async close() {
      await Promise.all([...servers.values(), ...leaving].map(({ redis }) => redis.close()));
    },
  };
}
