import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from '../peers/daemon.ts';
import { runShell } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { ClientSetting, ImageReference, RunClient } from './pull-client.ts';
import { snippetOf } from './snippet.ts';

/** Where the page puts hosts.toml. */
const documentedHosts = '/etc/containerd/certs.d';

/** containerd with the cache for docker.io by hosts.toml, so that it asks with `?ns=docker.io`. */
export async function startContainerd(
  setting: ClientSetting,
  hostsFile = `file=${documentedHosts}/docker.io/hosts.toml`,
): Promise<RunClient> {
  const folder = makeTemporaryFolder('containerd');
  const hosts = join(folder, 'certs.d');
  mkdirSync(join(hosts, 'docker.io'), { recursive: true });
  writeFileSync(join(hosts, 'docker.io/hosts.toml'), snippetOf(hostsFile, setting));
  const socket = join(folder, 'c.sock');
  const config = join(folder, 'config.toml');
  writeFileSync(config, configOf(folder, socket));
  const daemon = startDaemon('containerd', ['--config', config], setting.environment);
  const env = { ...setting.environment, CONTAINERD_ADDRESS: socket, CONTAINERD_SNAPSHOTTER: 'native' };
  const shell = (script: string) => runShell(script.replaceAll(documentedHosts, hosts), { env, folder });
  await daemon.until(() => shell('ctr version').then(() => true));
  const nameOf = ({ repository, tag }: ImageReference) => `docker.io/${repository}:${tag}`;
  let runs = 0;
  return {
    shell,
    async pull(image) {
      const name = nameOf(image);
      // With --sync what only this image used is collected before it returns.
      await shell(`ctr images rm --sync ${name}`);
      await shell(`ctr images pull --hosts-dir ${documentedHosts} ${name}`);
      const [, line = ''] = (await shell(`ctr images ls name==${name}`)).split('\n');
      return line.split(/\s+/)[2] ?? '';
    },
    run: (image) => shell(`ctr run --rm ${nameOf(image)} pc-${daemon.pid}-${++runs}`),
    async close() {
      await daemon.stop();
      removeFolder(folder);
    },
  };
}

function configOf(folder: string, socket: string): string {
  return [
    'version = 2',
    `root = ${JSON.stringify(join(folder, 'root'))}`,
    `state = ${JSON.stringify(join(folder, 'state'))}`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    `[grpc]\n  address = ${JSON.stringify(socket)}`,
    `[ttrpc]\n  address = ${JSON.stringify(`${socket}.ttrpc`)}`,
  ].join('\n');
}
