import { startDaemon } from '../../peers/daemon.ts';
import { benchFile } from '../places.ts';
import type { Contestant } from './contestant.ts';

/** The limit of Node: a server that does no more than it must to send these bytes. */
export const bareContestant: Contestant = {
  name: 'bare',
  isCache: false,
  async start({ content }) {
    const daemon = startDaemon(process.execPath, [benchFile('contestants/bare-server.mjs'), content.folder]);
    const [, url = ''] = await daemon.says(/^listening on (\S+)$/m);
    return { url, pid: daemon.pid, stop: daemon.stop };
  },
};
