import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from '../../peers/daemon.ts';
import { type Contestant, untilItAnswers } from './contestant.ts';
import { freePort } from './free-port.ts';

/** Distribution's registry as a pull-through cache, as its documentation sets it up, without logs of requests. */
export function registryContestant(program: string): Contestant {
  return {
    name: 'registry',
    isCache: true,
    async start({ upstream, folder }) {
      const data = join(folder, 'data');
      mkdirSync(data);
      const address = `127.0.0.1:${await freePort()}`;
      const config = join(folder, 'config.yml');
      writeFileSync(
        config,
        JSON.stringify({
          version: 0.1,
          log: { level: 'warn', accesslog: { disabled: true } },
          storage: { cache: { blobdescriptor: 'inmemory' }, filesystem: { rootdirectory: data } },
          http: { addr: address },
          proxy: { remoteurl: upstream },
        }),
      );
      const daemon = startDaemon(program, ['serve', config], { OTEL_TRACES_EXPORTER: 'none' });
      const url = `http://${address}`;
      await untilItAnswers(daemon, url);
      return { url, pid: daemon.pid, stop: daemon.stop };
    },
  };
}
