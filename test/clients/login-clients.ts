import { type CommandResult, runCommand } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { startContainerd } from './containerd.ts';
import { startDockerd } from './dockerd.ts';
import { startPodman } from './podman.ts';
import { upstreamKey } from './world.ts';

/** Somebody who logs in; `undefined`: nobody. */
export type Login = { user: string; password: string } | undefined;

/** What they pull. */
export const privateImage = { repository: 'team/private', tag: '1.0' };

/** What their programs are in, on Debian. */
export const loginPrograms = {
  ...{ skopeo: 'skopeo', podman: 'podman', conmon: 'conmon', openssl: 'openssl' },
  ...{ dockerd: 'docker.io', docker: 'docker.io', containerd: 'containerd', ctr: 'containerd', runc: 'runc' },
};

/** A client that logs in and pulls what is private from a cache, with nothing kept from before. */
export interface LoginClient {
  pull(host: string, login: Login): Promise<CommandResult>;
  /** By a name of Docker Hub, for which the cache is the mirror, where the client is set up so. */
  pullMirrored?(name: string): Promise<CommandResult>;
  close(): Promise<void>;
}

const nameAt = (host: string) => `${host}/${upstreamKey}/${privateImage.repository}:${privateImage.tag}`;
const inShell = (shell: (script: string) => Promise<string>) => async (script: string) => {
  const output = await shell(`set +e; { ${script}; } 2>&1; echo "exit $?"`);
  const [, stdout = '', code = ''] = /^(.*)exit (\d+)\s*$/s.exec(output) ?? [];
  return { code: Number(code), stdout, stderr: '', durationMs: 0 };
};

/** Each by its name. @param environment keeps the client from asking anybody else */
export const loginClients: Readonly<
  Record<string, (cacheUrl: string, environment?: Readonly<Record<string, string>>) => Promise<LoginClient>>
> = {
  async skopeo() {
    const folder = makeTemporaryFolder('skopeo-login');
    let pulls = 0;
    return {
      async pull(host, login) {
        const to = `${folder}/${++pulls}`;
        const authfile = `--authfile ${to}.json`;
        const enter =
          login && `skopeo login --tls-verify=false ${authfile} -u ${login.user} -p ${login.password} ${host}`;
        const copy = `skopeo copy --src-tls-verify=false ${authfile} docker://${nameAt(host)} dir:${to}`;
        const script = `echo {} >${to}.json; ${enter ?? 'true'} && ${copy}`;
        return runCommand({ program: 'sh', args: ['-c', `{ ${script}; } 2>&1`] });
      },
      async close() {
        removeFolder(folder);
      },
    };
  },
  async podman(cacheUrl, environment = {}) {
    const { shell, close } = await startPodman({ cacheUrl, upstreamKey, environment });
    const run = inShell(shell);
    return {
      async pull(host, login) {
        await run('podman logout --all; podman rmi --all --force');
        const enter = login && `podman login --tls-verify=false -u ${login.user} -p ${login.password} ${host}`;
        return run(`${enter ?? 'true'} && podman pull --tls-verify=false ${nameAt(host)}`);
      },
      close,
    };
  },
  async docker(cacheUrl, environment = {}) {
    const { shell, close } = await startDockerd({ cacheUrl, upstreamKey, environment });
    const run = inShell(shell);
    return {
      async pull(host, login) {
        await run(`docker logout ${host}; docker image prune --all --force`);
        const enter =
          login && `echo ${login.password} | docker login --username ${login.user} --password-stdin ${host}`;
        return run(`${enter ?? 'true'} && docker pull ${nameAt(host)}`);
      },
      pullMirrored: (name) => run(`docker image prune --all --force && docker pull ${name}`),
      close,
    };
  },
  async ctr(cacheUrl, environment = {}) {
    const { shell, close } = await startContainerd({ cacheUrl, upstreamKey, environment });
    const run = inShell(shell);
    return {
      async pull(host, login) {
        await run(`ctr images rm --sync ${nameAt(host)}`);
        const user = login ? `--user ${login.user}:${login.password}` : '';
        return run(`ctr images pull --plain-http ${user} ${nameAt(host)}`);
      },
      close,
    };
  },
};
