// The cache behind Node's server, as a host application mounts it: files, no authentication, an observer that counts.
// Arguments: the checkout whose build is run, the folder of the store, the options as JSON.
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';

const [, , checkout, folder, options] = process.argv;
const builtOf = (name) => import(pathToFileURL(join(checkout, 'packages', name, 'dist/index.js')).href);
const [{ createProxyCache, fileStorage }, { createNodeHandler }] = await Promise.all(
  ['core', 'node-http'].map(builtOf),
);

const seen = new Map();
mkdirSync(folder, { recursive: true });
const cache = createProxyCache({
  defaultUpstream: 'up',
  storage: fileStorage(folder),
  minFree: 0,
  ...JSON.parse(options),
  observer: ({ type }) => seen.set(type, (seen.get(type) ?? 0) + 1),
});
const handle = createNodeHandler(cache);

// The host application's own: a handler that does next to nothing, and what it can tell of its event loop.
const loop = monitorEventLoopDelay({ resolution: 1 });
const own = {
  '/host': () => 'hello',
  '/loop/start': () => {
    loop.reset();
    loop.enable();
    return '{}';
  },
  '/loop/stop': () => {
    loop.disable();
    return JSON.stringify({ p50: loop.percentile(50) / 1e6, p99: loop.percentile(99) / 1e6, max: loop.max / 1e6 });
  },
  '/events': () => JSON.stringify(Object.fromEntries(seen)),
};

const server = createServer((req, res) => {
  const answer = own[req.url];
  if (answer === undefined) handle(req, res);
  else res.end(answer());
});
server.listen(0, '127.0.0.1', 4096, () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => process.exit());
