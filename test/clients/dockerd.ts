import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from '../peers/daemon.ts';
import { type CommandResult, runCommand, runShell } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { ClientSetting, ImageReference, RunClient } from './pull-client.ts';
import { snippetOf } from './snippet.ts';

/** dockerd and its command line. */
export interface DockerClient extends RunClient {
  /** Runs `docker` with these arguments, whatever comes of it. */
  docker(...args: readonly string[]): Promise<CommandResult>;
}

/** dockerd with the cache for its registry mirror, by daemon.json: it asks for Docker Hub's names and no others. */
export async function startDockerd(setting: ClientSetting): Promise<DockerClient> {
  const folder = makeTemporaryFolder('dockerd');
  const config = join(folder, 'daemon.json');
  writeFileSync(config, snippetOf('file=/etc/docker/daemon.json', setting));
  mkdirSync(join(folder, 'client'));
  const socket = `unix://${join(folder, 'd.sock')}`;
  const args = [
    ...['--config-file', config, '--host', socket, '--pidfile', join(folder, 'd.pid')],
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '--storage-driver=vfs'],
    ...['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
    ...['--exec-opt', 'native.cgroupdriver=cgroupfs'],
  ];
  const daemon = startDaemon('dockerd', args, setting.environment);
  const env = { ...setting.environment, DOCKER_HOST: socket, DOCKER_CONFIG: join(folder, 'client') };
  const shell = (script: string) => runShell(script, { env, folder });
  const docker = (...args: readonly string[]) => runCommand({ program: 'docker', args, env });
  await daemon.until(() => shell('docker version').then(() => true));
  // One component: the daemon makes it library/NAME before it asks the mirror.
  const nameOf = ({ repository, tag }: ImageReference) => `${repository.replace(/^library\//, '')}:${tag}`;
  return {
    docker,
    shell,
    async pull(image) {
      await docker('image', 'rm', '--force', nameOf(image));
      const said = await shell(`docker pull ${nameOf(image)}`);
      return /^Digest: (\S+)$/m.exec(said)?.[1] ?? '';
    },
    run: (image) => shell(`docker run --rm --network=none --pull=never ${nameOf(image)}`),
    async close() {
      await daemon.stop();
      removeFolder(folder);
    },
  };
}
