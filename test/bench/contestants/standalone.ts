import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from '../../peers/daemon.ts';
import { root } from '../places.ts';
import type { Contestant } from './contestant.ts';

/** The standalone server with so many workers, and no line for each request. */
export function standaloneContestant({ name, workers }: { name: string; workers: number }): Contestant {
  return {
    name,
    isCache: true,
    async start({ upstream, folder }) {
      const config = join(folder, 'config.json');
      const settings = {
        workers,
        listen: { port: 0 },
        storage: { directory: 'data', minFree: 0 },
        defaultUpstream: 'up',
        upstreams: [{ key: 'up', url: upstream, freshFor: '24h' }],
        log: { requests: false },
      };
      writeFileSync(config, JSON.stringify(settings));
      const daemon = startDaemon(process.execPath, [
        join(root, 'examples/standalone/dist/main.js'),
        '--config',
        config,
      ]);
      const [, url = ''] = await daemon.says(/^proxycache listening on (\S+)$/m);
      return { url, pid: daemon.pid, stop: daemon.stop };
    },
  };
}
