import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from '../peers/daemon.ts';
import { onFreePort } from '../peers/free-port.ts';
import { runCommand } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';

/** PostgreSQL on a port of 127.0.0.1, with a folder of its own. It keeps its port and its data over `start`. */
export interface PostgresServer {
  readonly url: string;
  /** Ends it, and its clients' connections. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes what it had. */
  close(): Promise<void>;
}

/** Where Debian keeps its programs, of whatever version; only some of them are on anybody's PATH. */
export const postgresFolders: readonly string[] = Array.from(
  { length: 10 },
  (_, at) => `/usr/lib/postgresql/${13 + at}/bin`,
);

/** @param folder where its programs stand */
export async function startPostgres(programs: string): Promise<PostgresServer> {
  const folder = makeTemporaryFolder('postgres');
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  const as = await unprivileged();
  for (const path of [folder, data]) if (as) chownSync(path, as.uid, as.gid);
  const line = (program: string, ...args: string[]): [program: string, args: string[]] => {
    const path = join(programs, program);
    if (!as) return [path, args];
    return ['setpriv', [`--reuid=${as.uid}`, `--regid=${as.gid}`, '--clear-groups', path, ...args]];
  };
  const [initdb, args] = line(
    'initdb',
    '--pgdata',
    data,
    '--auth',
    'trust',
    '--username',
    'cache',
    '--no-sync',
    '-E',
    'UTF8',
  );
  const made = await runCommand({ program: initdb, args });
  if (made.code !== 0) throw new Error(`initdb failed: ${made.stderr}`);

  const start = async (port: number) => {
    const settings = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      fsync: 'off',
      shared_buffers: '8MB',
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const daemon = startDaemon(...line('postgres', '-D', data, '-p', String(port), ...flags));
    await daemon.says(/ready to accept connections/);
    return daemon;
  };
  const { port, started } = await onFreePort(start);
  let daemon = started;
  const stop = async () => {
    // Without waiting for its clients to leave.
    daemon.signal('SIGINT');
    await daemon.stop();
  };
  return {
    url: `postgresql://cache@127.0.0.1:${port}/postgres`,
    stop,
    async start() {
      daemon = await start(port);
    },
    async close() {
      await stop();
      removeFolder(folder);
    },
  };
}

/** Who it runs as: it refuses to run as root. */
async function unprivileged(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (what) => Number((await runCommand({ program: 'id', args: [what, 'nobody'] })).stdout)),
  );
  return { uid: uid!, gid: gid! };
}
