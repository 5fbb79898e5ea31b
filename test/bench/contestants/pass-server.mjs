// The least that a Node server can do with content it does not have: hand each request on, and pipe the answer back.
// Nothing is checked, and nothing kept. Argument: the base URL of the upstream.
import { Agent, createServer, request } from 'node:http';

const [, , upstream] = process.argv;
const agent = new Agent({ keepAlive: true });

const server = createServer((req, res) => {
  const asking = request(`${upstream}${req.url}`, { method: req.method, agent }, (answer) => {
    res.writeHead(answer.statusCode, answer.rawHeaders);
    answer.pipe(res);
  });
  asking.on('error', (error) => res.destroy(error));
  asking.end();
});
server.listen(0, '127.0.0.1', 4096, () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => process.exit());
