import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runShell } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { ClientSetting, ImageReference, RunClient } from './pull-client.ts';
import { snippetOf } from './snippet.ts';

/** podman with the cache for its mirror of docker.io, by registries.conf, and with a storage of its own. */
export async function startPodman(
  setting: ClientSetting,
  registries = 'file=/etc/containers/registries.conf.d/proxycache.conf',
): Promise<RunClient> {
  const folder = makeTemporaryFolder('podman');
  const place = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const inFolder = (name: string) => JSON.stringify(join(folder, name));
  const env = {
    ...setting.environment,
    CONTAINERS_REGISTRIES_CONF: place('registries.conf', snippetOf(registries, setting)),
    REGISTRY_AUTH_FILE: place('auth.json', '{}'),
    CONTAINERS_STORAGE_CONF: place(
      'storage.conf',
      `[storage]\ndriver = "vfs"\ngraphroot = ${inFolder('root')}\nrunroot = ${inFolder('run')}\n`,
    ),
    CONTAINERS_CONF: place(
      'containers.conf',
      [
        // Limits of its own: the usual ones are above what a container of a build machine may set.
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]',
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"',
        `tmp_dir = ${inFolder('tmp')}`,
      ].join('\n'),
    ),
  };
  const shell = (script: string) => runShell(script, { env, folder });
  const nameOf = ({ repository, tag }: ImageReference) => `docker.io/${repository}:${tag}`;
  return {
    shell,
    async pull(image) {
      await shell('podman rmi --all --force');
      await shell(`podman pull --quiet ${nameOf(image)}`);
      return (await shell(`podman image inspect --format '{{.Digest}}' ${nameOf(image)}`)).trim();
    },
    run: (image) => shell(`podman run --rm --network=none ${nameOf(image)}`),
    async close() {
      removeFolder(folder);
    },
  };
}
