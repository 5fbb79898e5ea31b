import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon } from '../../peers/daemon.ts';
import { type Content, manifestType } from '../content.ts';
import { untilItAnswers } from '../contestants/contestant.ts';
import { freePort } from '../contestants/free-port.ts';
import { writeNginxConfig } from '../contestants/nginx-config.ts';
import { createTake, type Origin } from './origin.ts';

/** An nginx that serves files as a registry does: faster than any that it stands for. */
export async function startNginxOrigin(nginx: string, content: Content, folder: string): Promise<Origin> {
  const address = `127.0.0.1:${await freePort()}`;
  const log = join(folder, 'access.log');
  const tags = content
    .images()
    .map(({ repository, tag, manifest }) => `    /v2/${repository}/manifests/${tag} ${manifest.digest};`);
  const http = `
  log_format counted '$request_method $request_uri $status $body_bytes_sent';
  map_hash_bucket_size 256;
  map $uri $digest {
    ~/(?<named>sha256:[0-9a-f]+)$ $named;
${tags.join('\n')}
  }`;
  const server = `
    listen ${address} backlog=4096;
    access_log ${log} counted;
    etag off;
    add_header Docker-Distribution-Api-Version registry/2.0 always;
    add_header Docker-Content-Digest $digest;
    add_header ETag '"$digest"';
    location = /v2/ { return 200 "{}"; }
    location ~ /manifests/[^/]+$ { default_type ${manifestType}; root ${content.folder}/manifests; try_files /$digest =404; }
    location ~ /blobs/[^/]+$ { default_type application/octet-stream; root ${content.folder}/blobs; try_files /$digest =404; }`;
  const daemon = startDaemon(nginx, writeNginxConfig(folder, { http, server }));
  const url = `http://${address}`;
  await untilItAnswers(daemon, url);
  return {
    url,
    pid: daemon.pid,
    take: createTake(() => readFileSync(log, 'utf8').split('\n').slice(0, -1)),
    stop: daemon.stop,
  };
}
