// A process without a free file descriptor asks for a manifest, before which a program has to give the credential. Prints the answer.
import { closeSync, openSync } from 'node:fs';
import { createProxyCache, memoryStorage } from '@proxycache/core';

const cache = createProxyCache({
  upstreams: [{ key: 'up', url: 'http://127.0.0.1:9', auth: { exec: [process.execPath] }, retry: { attempts: 1 } }],
  storage: memoryStorage(),
});
const taken = [];
let code;
while (code === undefined) {
  try {
    taken.push(openSync('/dev/null'));
  } catch (error) {
    code = error.code;
  }
}
const response = await cache.fetch(new Request('http://cache.example/v2/up/team/app/manifests/1'));
const { errors } = await response.json();
// Whatever is told in vain ends the process before this.
await new Promise((resolve) => setImmediate(resolve));
for (const file of taken) closeSync(file);
await cache.close();
console.log(JSON.stringify({ code, status: response.status, reason: errors[0].detail.reason }));
