import { startDaemon } from '../../peers/daemon.ts';
import { benchFile } from '../places.ts';
import type { Contestant } from './contestant.ts';

/** The limit of Node: a server that does no more than it must to send these bytes. */
export const bareContestant = bareOf('bare', 1);

/** The limit of so many workers of `node:cluster`. */
export function bareOf(name: string, workers: number): Contestant {
  return {
    name,
    isCache: false,
    async start({ content }) {
      const server = benchFile('contestants/bare-server.mjs');
      const daemon = startDaemon(process.execPath, [server, content.folder, String(workers)]);
      const [, url = ''] = await daemon.says(/^listening on (\S+)$/m);
      return { url, pid: daemon.pid, stop: daemon.stop };
    },
  };
}
