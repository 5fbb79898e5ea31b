import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '@proxycache/test-kit';
import { runShell } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { ClientSetting, PullClient } from './pull-client.ts';

/** skopeo, which copies to a folder all that a tag names, byte for byte, by the name of the cache. */
export async function startSkopeo({ cacheUrl, upstreamKey, environment }: ClientSetting): Promise<PullClient> {
  const folder = makeTemporaryFolder('skopeo');
  const shell = (script: string) => runShell(script, { env: environment, folder });
  let pulls = 0;
  return {
    shell,
    async pull({ repository, tag }) {
      const target = join(folder, String(++pulls));
      const source = `docker://${new URL(cacheUrl).host}/${upstreamKey}/${repository}:${tag}`;
      await shell(`skopeo copy --all --src-tls-verify=false ${source} dir:${target}`);
      return sha256(readFileSync(join(target, 'manifest.json')));
    },
    async close() {
      removeFolder(folder);
    },
  };
}
