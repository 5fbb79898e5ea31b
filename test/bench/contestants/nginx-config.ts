import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What is common to an nginx as a cache and as a registry: one worker, everything in a folder of its own. */
export function writeNginxConfig(folder: string, { http, server }: { http: string; server: string }): string[] {
  const file = join(folder, 'nginx.conf');
  for (const temporary of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) {
    mkdirSync(join(folder, temporary), { recursive: true });
  }
  writeFileSync(
    file,
    `daemon off;
# Folders of ours are for their owner alone.
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  access_log off;
  sendfile on;
  tcp_nodelay on;
  open_file_cache max=10000 inactive=1h;
  open_file_cache_valid 1h;
  keepalive_requests 10000000;
  keepalive_timeout 600s;
${http}
  server {
${server}
  }
}
`,
  );
  return ['-c', file, '-p', folder, '-e', 'stderr'];
}
