import { join } from 'node:path';
import { startDaemon } from '../../peers/daemon.ts';
import { benchFile, root } from '../places.ts';
import type { Contestant, OurOptions } from './contestant.ts';

/** The cache itself, as this checkout or another one built it, with its defaults or other options. */
export function ourContestant({ checkout, options = {} }: { checkout?: string; options?: OurOptions }): Contestant {
  const [from, how] = [checkout && `:${checkout}`, Object.keys(options).length > 0 && `+${JSON.stringify(options)}`];
  return {
    name: `us${from || ''}${how || ''}`,
    isCache: true,
    isOurs: true,
    ...(checkout !== undefined && { checkout }),
    async start({ upstream: url, folder, ourOptions = {} }) {
      const { upstream, ...ofCache } = { ...ourOptions, ...options };
      // Tags stay fresh, as nginx has it; docker-registry asks each time, and cannot be told otherwise.
      const ofUpstream = { key: 'up', url, freshFor: '24h', ...ourOptions.upstream, ...upstream };
      const given = JSON.stringify({ ...ofCache, upstreams: [ofUpstream] });
      const args = [benchFile('contestants/our-server.mjs'), checkout ?? root, join(folder, 'data'), given];
      const daemon = startDaemon(process.execPath, args);
      const [, address = ''] = await daemon.says(/^listening on (\S+)$/m);
      return { url: address, pid: daemon.pid, stop: daemon.stop };
    },
  };
}
