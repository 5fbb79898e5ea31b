import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Daemon, startDaemon } from './daemon.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';
import type { TokenServer } from './token-server.ts';

/** Who may come in. */
export type RegistryAuth = { kind: 'anyone' } | { kind: 'htpasswd' } | { kind: 'token'; server: TokenServer };

/** The one user of a registry with `htpasswd`. */
export const htpasswdUser = { username: 'cache', password: 'let-me-in' } as const;
// bcrypt of that password, which is no secret: it opens nothing but registries that a test made.
const htpasswdLine = 'cache:$2b$05$abcdefghijklmnopqrstuu3Jd./u/rH1RxB6auX5v7gLP6uWhKCgG\n';

/** Debian's docker-registry (distribution 2.8) on a free port of 127.0.0.1, with a folder of its own. */
export interface RegistryPeer {
  /** Its base URL. Another one after each start. */
  url(): string;
  /** The `Authorization` of a request to fill or empty a repository. */
  authorization(repository: string): string | undefined;
  stop(): Promise<void>;
  /** Starts it again, with what it had. */
  start(): Promise<void>;
  /** Ends it and removes what it had. */
  close(): Promise<void>;
}

/** Starts one, empty. */
export async function startRegistryPeer(
  program: string,
  auth: RegistryAuth = { kind: 'anyone' },
): Promise<RegistryPeer> {
  const folder = makeTemporaryFolder('registry');
  const data = join(folder, 'data');
  mkdirSync(data);
  const config = join(folder, 'config.yml');
  writeFileSync(config, configOf(data, authLines(folder, auth)));
  let daemon: Daemon | undefined;
  let url = '';
  const start = async () => {
    daemon = startDaemon(program, ['serve', config]);
    const [, address] = await daemon.says(/listening on (127\.0\.0\.1:\d+)/);
    url = `http://${address}`;
  };
  const stop = async () => {
    await daemon?.stop();
    daemon = undefined;
  };
  await start();
  return {
    url: () => url,
    authorization: (repository) => authorizationFor(auth, repository),
    stop,
    start,
    async close() {
      await stop();
      removeFolder(folder);
    },
  };
}

function configOf(data: string, auth: readonly string[]): string {
  return [
    'version: 0.1',
    'log: { level: info, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${JSON.stringify(data)} }, delete: { enabled: true } }`,
    'http: { addr: "127.0.0.1:0" }',
    ...auth,
    '',
  ].join('\n');
}

function authLines(folder: string, auth: RegistryAuth): readonly string[] {
  if (auth.kind === 'anyone') return [];
  if (auth.kind === 'htpasswd') {
    const file = join(folder, 'htpasswd');
    writeFileSync(file, htpasswdLine);
    return [`auth: { htpasswd: { realm: registry, path: ${JSON.stringify(file)} } }`];
  }
  const { realm, service, issuer, certificate } = auth.server;
  const rootcertbundle = join(folder, 'tokens.pem');
  writeFileSync(rootcertbundle, certificate);
  return [`auth: { token: ${JSON.stringify({ realm, service, issuer, rootcertbundle })} }`];
}

function authorizationFor(auth: RegistryAuth, repository: string): string | undefined {
  if (auth.kind === 'anyone') return undefined;
  if (auth.kind === 'token') return `Bearer ${auth.server.issue(repository, ['pull', 'push', 'delete', '*'])}`;
  const { username, password } = htpasswdUser;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
