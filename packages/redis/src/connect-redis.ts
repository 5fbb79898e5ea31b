import { ProxyCacheError } from '@proxycache/core';
import { createCluster } from './cluster.ts';
import { createConnection } from './connection.ts';
import { useHostClient } from './host-client.ts';
import type { OpenLink, Redis } from './redis.ts';
import { openPrimaryLink } from './sentinel.ts';
import { openServerLink, type ServerAddress } from './server-link.ts';
import type { RedisSettings } from './settings.ts';

const nameOf = ({ host, port }: ServerAddress) => `${host}:${port}`;

/** A connection for messages: to the server, the primary, or a server of the cluster, at each attempt the next one. */
export function messagesBy({ target, server: settings }: RedisSettings): { server: string; open: OpenLink } {
  switch (target.kind) {
    case 'server':
      return {
        server: `${nameOf(target.address)}, messages`,
        open: (opening) => openServerLink(target.address, settings, opening),
      };
    case 'sentinel':
      return {
        server: `primary "${target.name}", messages`,
        open: (opening) => openPrimaryLink(target, settings, opening),
      };
    case 'cluster': {
      let attempts = 0;
      const next = () => target.nodes[attempts++ % target.nodes.length] ?? target.nodes[0];
      return { server: 'cluster, messages', open: (opening) => openServerLink(next(), settings, opening) };
    }
    case 'client':
      throw new ProxyCacheError(
        'invalid-options',
        'redis: client: a coordinator makes its own connections; give it a url',
      );
  }
}

/** Connects by what the settings say. */
export function connectRedis({ target, server: settings, clock, tell }: RedisSettings): Redis {
  const { answerWithinMs } = settings;
  const connect = (server: string, open: OpenLink, sameServer = server) =>
    createConnection({ server, sameServer, open, clock, answerWithinMs, tell });
  const connectServer = (address: ServerAddress) =>
    connect(nameOf(address), (opening) => openServerLink(address, settings, opening));

  switch (target.kind) {
    case 'server':
      return connectServer(target.address);
    case 'sentinel':
      return connect(
        `primary "${target.name}"`,
        (opening) => openPrimaryLink(target, settings, opening),
        `${target.name} of ${target.nodes.map(nameOf).sort()}`,
      );
    case 'cluster':
      return createCluster({ nodes: target.nodes, connect: connectServer, clock, answerWithinMs });
    case 'client':
      return useHostClient(target.client, { clock, answerWithinMs });
  }
}
