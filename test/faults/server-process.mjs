// A cache with a file storage behind Node's server, as a process that can be killed. Arguments: the folder, the
// upstream's URL, and further options of the upstream as JSON. Its first line says where it listens, and which spool files there were when createProxyCache returned;
// each event follows as a line.
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createProxyCache, fileStorage } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';

const [, , folder, url, options = '{}'] = process.argv;
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const cache = createProxyCache({
  upstreams: [{ key: 'up', url, ...JSON.parse(options) }],
  storage: fileStorage(folder),
  minFree: 0,
  observer: tell,
});
const spooled = readdirSync(join(folder, 'spool'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map(({ name }) => name);
const server = createServer(createNodeHandler(cache)).listen(0, '127.0.0.1', () => {
  tell({ url: `http://127.0.0.1:${server.address().port}`, spooled });
});
