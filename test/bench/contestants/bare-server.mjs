// What Node can do at most: manifests are a Buffer and a header array out of a Map, blobs are read with fs.read into
// pooled buffers of 1 MiB, two in flight for each client. Nothing is checked. Arguments: the folder of the content, and
// how many workers of node:cluster there are (1: no cluster).
import { executionAsyncResource } from 'node:async_hooks';
import cluster from 'node:cluster';
import fs from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [, , folder, workers = '1'] = process.argv;
const bufferBytes = 1024 * 1024;
const free = [];
const manifests = new Map();
// Without one of them a server that was idle answers slower for good: see packages/core/src/runtime/tick-shape.ts.
const kept = [];
process.nextTick(() => kept.push(executionAsyncResource()));

const withoutQuery = (url) => {
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
};

function manifestOf(reference) {
  const found = manifests.get(reference);
  if (found) return found;
  // A tag is a file with a digest in it, written when the content was made.
  const digest = reference.startsWith('sha256:') ? reference : fs.readFileSync(join(folder, 'tags', reference), 'utf8');
  const bytes = fs.readFileSync(join(folder, 'manifests', digest));
  const headers = [
    'Content-Type',
    'application/vnd.oci.image.manifest.v1+json',
    'Content-Length',
    String(bytes.length),
    'Docker-Content-Digest',
    digest,
    'Docker-Distribution-Api-Version',
    'registry/2.0',
    'ETag',
    `"${digest}"`,
  ];
  manifests.set(reference, { bytes, headers });
  return manifests.get(reference);
}

function sendBlob(digest, res) {
  const descriptor = fs.openSync(join(folder, 'blobs', digest), 'r');
  const { size } = fs.fstatSync(descriptor);
  res.writeHead(200, [
    'Content-Type',
    'application/octet-stream',
    'Content-Length',
    String(size),
    'Docker-Content-Digest',
    digest,
  ]);
  let asked = 0;
  let sent = 0;
  let open = 0;
  let ended = false;
  const end = () => {
    if (ended || open > 0) return;
    ended = true;
    fs.closeSync(descriptor);
  };
  const readNext = () => {
    if (asked >= size || res.destroyed) return end();
    const buffer = free.pop() ?? Buffer.allocUnsafeSlow(bufferBytes);
    const position = asked;
    asked += Math.min(bufferBytes, size - position);
    open++;
    fs.read(descriptor, buffer, 0, bufferBytes, position, (error, length) => {
      if (error) return res.destroy(error);
      write(buffer, length, position);
    });
  };
  // Reads may end in another order than they were asked in.
  const waiting = new Map();
  const write = (buffer, length, position) => {
    waiting.set(position, { buffer, length });
    for (let next = waiting.get(sent); next; next = waiting.get(sent)) {
      waiting.delete(sent);
      sent += next.length;
      const { buffer: done } = next;
      res.write(next.length === bufferBytes ? done : done.subarray(0, next.length), () => {
        free.push(done);
        open--;
        readNext();
      });
      if (sent === size) res.end();
    }
  };
  readNext();
  readNext();
}

const server = createServer((req, res) => {
  const path = withoutQuery(req.url);
  const slash = path.lastIndexOf('/');
  const reference = path.slice(slash + 1);
  if (path.endsWith('/manifests', slash)) {
    const { bytes, headers } = manifestOf(
      reference.startsWith('sha256:') ? reference : path.slice(4, slash - 10).replaceAll('/', '+'),
    );
    res.writeHead(200, headers);
    res.end(req.method === 'HEAD' ? undefined : bytes);
  } else if (path.endsWith('/blobs', slash)) sendBlob(reference, res);
  else res.end();
});
const say = (port) => console.log(`listening on http://127.0.0.1:${port}`);
if (workers !== '1' && cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', (_worker, { port }) => {
    listening++;
    if (listening === Number(workers)) say(port);
  });
  for (let worker = 0; worker < Number(workers); worker++) cluster.fork();
} else server.listen(0, '127.0.0.1', 4096, () => cluster.isPrimary && say(server.address().port));
process.once('SIGTERM', () => process.exit());
