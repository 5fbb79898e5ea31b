import { createCluster } from './cluster.ts';
import { createConnection } from './connection.ts';
import { useHostClient } from './host-client.ts';
import type { OpenLink, Redis } from './redis.ts';
import { openPrimaryLink } from './sentinel.ts';
import { openServerLink, type ServerAddress } from './server-link.ts';
import type { RedisSettings } from './settings.ts';

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
