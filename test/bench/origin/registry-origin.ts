import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { startDaemon } from '../../peers/daemon.ts';
import type { Content, Image, StoredContent } from '../content.ts';
import { untilItAnswers } from '../contestants/contestant.ts';
import { freePort } from '../contestants/free-port.ts';
import { createTake, type Origin } from './origin.ts';

/** Distribution's registry: what many upstreams are. Its log of requests, which counts them, costs it a little. */
export async function startRegistryOrigin(program: string, content: Content, folder: string): Promise<Origin> {
  const data = join(folder, 'data');
  for (const image of content.images()) layOut(image, join(data, 'docker/registry/v2'));
  const address = `127.0.0.1:${await freePort()}`;
  const config = join(folder, 'config.yml');
  const storage = { cache: { blobdescriptor: 'inmemory' }, filesystem: { rootdirectory: data } };
  writeFileSync(config, JSON.stringify({ version: 0.1, log: { level: 'warn' }, storage, http: { addr: address } }));
  const daemon = startDaemon(program, ['serve', config]);
  const url = `http://${address}`;
  await untilItAnswers(daemon, url);
  return { url, pid: daemon.pid, take: createTake(() => linesOfLog(daemon.output())), stop: daemon.stop };
}

/** Its lines in the Apache combined log format, as method, path, status and bytes. */
export function linesOfLog(log: string): readonly string[] {
  return [...log.matchAll(/"([A-Z]+) (\S+) HTTP\/1\.[01]" (\d+) (\d+) /g)].map((match) => match.slice(1, 5).join(' '));
}

/** An image in the files of distribution's filesystem driver (its registry/storage/paths.go). */
function layOut({ repository, tag, manifest, config, layers }: Image, root: string): void {
  const own = join(root, 'repositories', repository);
  const write = (path: string, text: string) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  for (const each of [manifest, config, ...layers]) placeBlob(root, each);
  for (const { digest } of [config, ...layers]) write(join(own, '_layers/sha256', hexOf(digest), 'link'), digest);
  const { digest } = manifest;
  write(join(own, '_manifests/revisions/sha256', hexOf(digest), 'link'), digest);
  write(join(own, '_manifests/tags', tag, 'current/link'), digest);
  write(join(own, '_manifests/tags', tag, 'index/sha256', hexOf(digest), 'link'), digest);
}

function placeBlob(root: string, { digest, file }: StoredContent): void {
  const hex = hexOf(digest);
  const place = join(root, 'blobs/sha256', hex.slice(0, 2), hex, 'data');
  mkdirSync(dirname(place), { recursive: true });
  linkSync(file, place);
}

const hexOf = (digest: string) => digest.slice(digest.indexOf(':') + 1);
