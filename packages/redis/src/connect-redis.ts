import { createCluster } from './cluster.ts';
import { createConnection } from './connection.ts';
import { useHostClient } from './host-client.ts';
import type { OpenLink, Redis } from './redis.ts';
import { openPrimaryLink } from './sentinel.ts';
import { openServerLink, type ServerAddress } from './server-link.ts';
import type { RedisSettings } from './settings.ts';

/** How a connection for messages is made: to the server, the primary, or any server of the cluster, each in its turn. */
export function openForMessages({ target, server: settings }: RedisSettings): OpenLink {
  let attempts = 0;
  return async (opening) => {
    switch (target.kind) {
      case 'server':
        return await openServerLink(target.address, settings, opening);
      case 'sentinel':
        return await openPrimaryLink(target, settings, opening);
      case 'cluster': {
        const node = target.nodes[attempts++ % target.nodes.length];
        if (node === undefined) throw new Error('the cluster has no nodes');
        return await openServerLink(node, settings, opening);
      }
      case 'client':
        throw new Error("the host's client cannot be used for messages");
    }
  };
}

/** Connects by what the settings say. */
export function connectRedis({ target, server: settings, clock, tell }: RedisSettings): Redis {
  const { answerWithinMs } = settings;
  const connect = (server: string, open: OpenLink) => createConnection({ server, open, clock, answerWithinMs, tell });
  const connectServer = (address: ServerAddress) =>
    connect(`${address.host}:${address.port}`, (opening) => openServerLink(address, settings, opening));

  switch (target.kind) {
    case 'server':
      return connectServer(target.address);
    case 'sentinel':
      return connect(`primary "${target.name}"`, (opening) => openPrimaryLink(target, settings, opening));
    case 'cluster':
      return createCluster({ nodes: target.nodes, connect: connectServer, clock, answerWithinMs });
    case 'client':
      return useHostClient(target.client, { clock, answerWithinMs });
  }
}
