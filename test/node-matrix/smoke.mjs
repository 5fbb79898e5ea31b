// A host that is an ES module.
import { createNodeHandler } from '@proxycache/node-http';
import { checkHost } from './check-host.mjs';

await checkHost('an ES module pulls through node-http', (cache) => createNodeHandler(cache));
