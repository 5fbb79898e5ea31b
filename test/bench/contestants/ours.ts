import { join } from 'node:path';
import { startDaemon } from '../../peers/daemon.ts';
import { benchFile, root } from '../places.ts';
import type { Contestant } from './contestant.ts';

/** The cache itself, built in a checkout: this one, or the one in `checkout`. */
export function ourContestant(checkout?: string): Contestant {
  return {
    name: checkout === undefined ? 'us' : `us:${checkout}`,
    isCache: true,
    async start({ upstream, folder, upstreamOptions = {} }) {
      const options = { key: 'up', url: upstream, freshFor: '24h', ...upstreamOptions };
      const program = benchFile('contestants/our-server.mjs');
      const args = [program, checkout ?? root, join(folder, 'data'), JSON.stringify(options)];
      const daemon = startDaemon(process.execPath, args);
      const [, url = ''] = await daemon.says(/^listening on (\S+)$/m);
      return { url, pid: daemon.pid, stop: daemon.stop };
    },
  };
}
