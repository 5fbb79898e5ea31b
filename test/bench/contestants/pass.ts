import { startDaemon } from '../../peers/daemon.ts';
import { benchFile } from '../places.ts';
import type { Contestant } from './contestant.ts';

/** The limit of Node for what is not stored: a server that only hands requests on. */
export const passContestant: Contestant = {
  name: 'pass',
  isCache: true,
  async start({ upstream }) {
    const daemon = startDaemon(process.execPath, [benchFile('contestants/pass-server.mjs'), upstream]);
    const [, url = ''] = await daemon.says(/^listening on (\S+)$/m);
    return { url, pid: daemon.pid, stop: daemon.stop };
  },
};
