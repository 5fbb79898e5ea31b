// Images to where no upstream can be reached, by a folder:
//   outside:  node dist/main.js export /media/usb docker-hub/library/alpine:3 ghcr/team/app:1 --platform linux/amd64
//   inside:   node dist/main.js import /media/usb --data /var/lib/proxycache
import { parseArgs } from 'node:util';
import { createProxyCache, dockerHub, fileStorage, ghcr, registry } from '@proxycache/core';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: 'string', default: './proxycache-data' },
    platform: { type: 'string', multiple: true },
    // A registry of your own, by the key `own`.
    url: { type: 'string', default: 'https://registry.example' },
  },
});
const [command, directory, ...references] = positionals;
if (directory === undefined || (command !== 'export' && command !== 'import')) {
  console.error('usage: export DIRECTORY REFERENCE… | import DIRECTORY');
  process.exit(2);
}

const cache = createProxyCache({
  upstreams: [dockerHub(), ghcr(), registry(values.url, { key: 'own' })],
  storage: fileStorage(values.data),
});
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('stopped')));

const { signal } = stop;
const platforms = values.platform && { platforms: values.platform };
const { failed, lines } =
  command === 'export'
    ? await cache
        .exportLayout(references, { directory, signal, ...platforms })
        .then(({ failed, references }) => ({ failed, lines: references }))
    : await cache.importLayout({ directory, signal }).then(({ failed, images }) => ({ failed, lines: images }));
for (const { reference, outcome, error } of lines) console.log(reference ?? '?', outcome, error?.message ?? '');
await cache.close();
process.exitCode = failed > 0 ? 1 : 0;
