import { newClient } from './new-client.ts';
import type { RedisLink } from './redis.ts';

/** Where a server listens. */
export type ServerAddress = { host: string; port: number };

/** TLS of the connections, by Node's own options. `{}` for what the system trusts. */
export interface RedisTls {
  ca?: string | Buffer | (string | Buffer)[];
  cert?: string | Buffer;
  key?: string | Buffer;
  servername?: string;
  rejectUnauthorized?: boolean;
}

/** What a connection to a server needs. */
export interface ServerSettings {
  username: string | undefined;
  password: string | undefined;
  database: number;
  tls: RedisTls | undefined;
  answerWithinMs: number;
}

/** Commands that may wait in one connection. What comes beyond that fails at once, also while the server hangs. */
const mostWaiting = 20_000;

/** Longer than any deadline: the client's own counts the time in which this process stood still. */
const clientTimeoutMs = 120_000;

/**
 * Connects to one server. The client neither connects again nor keeps commands for later: what it is to be replaced by,
 * and when, is for whoever uses the link to say.
 */
export async function openServerLink(
  { host, port }: ServerAddress,
  { username, password, database, tls }: ServerSettings,
  { signal }: { signal: AbortSignal },
): Promise<RedisLink> {
  signal.throwIfAborted();
  // The client cannot end a socket that is still connecting: without this it would log in whenever the server is back.
  const abandoned = new AbortController();
  const client = newClient({
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    database,
    disableOfflineQueue: true,
    commandsQueueMaxLength: mostWaiting,
    socket: {
      host,
      port,
      connectTimeout: clientTimeoutMs,
      reconnectStrategy: false,
      signal: abandoned.signal,
      ...(tls === undefined ? {} : { ...tls, tls: true as const }),
    },
  });
  let lost: { cause: unknown } | undefined;
  let listener: ((cause: unknown) => void) | undefined;
  const lose = (cause: unknown) => {
    if (lost !== undefined) return;
    lost = { cause };
    listener?.(cause);
  };
  client.on('error', (cause) => {
    if (client.isOpen && !client.isReady) return;
    lose(cause);
    // Of an open one: an answer that was not understood. The client goes on, and each call would get another's answer.
    destroy();
  });
  client.on('end', () => lose(new Error('the connection was closed')));
  const destroy = () => {
    // It throws when it has ended already.
    if (client.isOpen) client.destroy();
  };
  await new Promise<void>((resolve, reject) => {
    const leave = () => {
      reject(signal.reason);
      destroy();
      abandoned.abort();
    };
    signal.addEventListener('abort', leave, { once: true });
    client
      .connect()
      .then(() => resolve(), reject)
      .finally(() => signal.removeEventListener('abort', leave));
  }).catch((error) => {
    destroy();
    throw withoutSecret(error, password);
  });
  // The client would keep these for a connection that never comes.
  const told = (tell: () => Promise<void>) =>
    client.isReady ? tell() : Promise.reject(new Error('the connection was closed'));
  return {
    send: (args) => client.sendCommand([...args]),
    subscribe: (channel, fn) => told(() => client.subscribe(channel, fn)),
    unsubscribe: (channel) => told(() => client.unsubscribe(channel)),
    onLost(fn) {
      listener = fn;
      if (lost !== undefined) fn(lost.cause);
    },
    destroy,
  };
}

/** A server that does not know AUTH says all that it was given. */
function withoutSecret(error: unknown, password: string | undefined): unknown {
  if (!password || !(error instanceof Error) || !error.message.includes(password)) return error;
  return new Error(error.message.replaceAll(password, '***'));
}
