import { join } from 'node:path';
import { startDaemon } from '../../peers/daemon.ts';
import { type Contestant, untilItAnswers } from './contestant.ts';
import { freePort } from './free-port.ts';
import { writeNginxConfig } from './nginx-config.ts';

/** nginx that caches whatever is answered, under its path, for an hour. It knows nothing of digests. */
export function nginxContestant(program: string): Contestant {
  return {
    name: 'nginx',
    isCache: true,
    async start({ upstream, folder }) {
      const address = `127.0.0.1:${await freePort()}`;
      const http = `
  proxy_cache_path ${join(folder, 'cache')} levels=1:2 keys_zone=content:64m max_size=64g inactive=24h use_temp_path=off;
  upstream origin { server ${new URL(upstream).host}; keepalive 64; }`;
      const server = `
    listen ${address} backlog=4096;
    location = /v2/ { return 200; }
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache content;
      proxy_cache_key $uri;
      proxy_cache_valid 200 1h;
      proxy_cache_lock on;
      proxy_cache_lock_timeout 10m;
      proxy_cache_lock_age 10m;
      proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
      proxy_max_temp_file_size 0;
    }`;
      const daemon = startDaemon(program, writeNginxConfig(folder, { http, server }));
      const url = `http://${address}`;
      await untilItAnswers(daemon, url);
      return { url, pid: daemon.pid, stop: daemon.stop };
    },
  };
}
