import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chunkGate, type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';

/** The built program: it runs as users run it. */
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'proxycache-main-'));
const running = new Set<ChildProcess>();
// Programs that start take seconds of processor time each: on a busy machine that is minutes.
vi.setConfig({ testTimeout: 180_000 });
const patiently = { timeout: 60_000 };
let upstream: FakeUpstream;

beforeAll(async () => {
  upstream = await startFakeUpstream();
});
afterAll(async () => {
  await upstream.stop();
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});

interface Program {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>;
}

/** @param stderr another file, which is not read here */
function run(
  args: readonly string[],
  environment: Record<string, string> = {},
  stderr: 'pipe' | number = 'pipe',
): Program {
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', stderr] });
  running.add(child);
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      text[name] += chunk;
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => {
    running.delete(child);
    return code ?? signal;
  });
  return { child, stdout: () => text.stdout, stderr: () => text.stderr, ended };
}

/** Runs it until it listens. */
async function start(args: readonly string[], environment: Record<string, string> = {}, stderr?: number) {
  const program = run(['--port', '0', ...args], environment, stderr);
  let isOver = false;
  void program.ended.then(() => {
    isOver = true;
  });
  await expect.poll(() => isOver || program.stdout().includes('\n'), patiently).toBe(true);
  const url = /^proxycache listening on (http:\/\/127\.0\.0\.1:\d+)\n$/.exec(program.stdout())?.[1];
  if (url === undefined) throw new Error(`it does not listen: ${program.stdout()}${program.stderr()}`);
  return { ...program, url };
}

const logOf = (program: Program): Record<string, unknown>[] =>
  program
    .stderr()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

describe('a running server', () => {
  test('serves its metrics at an address of their own, which it logs', async () => {
    const image = upstream.addImage('team/metered', { tag: '1' });
    const config = join(folder, 'metrics.json');
    const upstreams = [{ key: 'my-own', url: upstream.url }];
    writeFileSync(config, JSON.stringify({ storage: { directory: 'metered' }, metrics: { port: 0 }, upstreams }));
    const program = await start(['--config', config]);
    const { url } = logOf(program).find(({ msg }) => msg === 'metrics') ?? {};
    const manifest = await bytesOf(await fetch(`${program.url}/v2/my-own/team/metered/manifests/1`));
    const text = await (await fetch(`${url}`)).text();
    expect(text).toContain(
      'proxycache_requests_total{upstream="my-own",kind="manifest",status="2xx",cache="miss"} 1\n',
    );
    expect(text).toContain(
      `proxycache_upstream_received_bytes_total{upstream="my-own",operation="manifest"} ${manifest.length}\n`,
    );
    expect(manifest).toHaveLength(image.root.size);
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
  });

  test('serves an upstream of the command line, and after a restart what it stored', async () => {
    const image = upstream.addImage('team/app', { tag: '1' });
    const args = ['--data', 'data', '--upstream', `my-own=${upstream.url}`, '--default-upstream', 'my-own'];
    const blob = `/v2/team/app/blobs/${image.layers[0]?.digest}`;
    const first = await start(args);
    const manifest = await fetch(`${first.url}/v2/my-own/team/app/manifests/1`);
    expect(manifest.headers.get('docker-content-digest')).toBe(image.root.digest);
    const bytes = await bytesOf(await fetch(first.url + blob));
    expect(bytes).toHaveLength(image.layers[0]!.size);
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);

    const second = await start(args);
    upstream.clear();
    expect(await bytesOf(await fetch(second.url + blob))).toEqual(bytes);
    expect(upstream.requests).toEqual([]);
  });

  test('writes one line to stdout and JSON to stderr, with a line for each request', async () => {
    const program = await start([]);
    await fetch(`${program.url}/v2/`);
    await expect
      .poll(() => logOf(program), patiently)
      .toEqual([expect.objectContaining({ level: 'info', msg: 'request', path: '/v2/', status: 200 })]);
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
    expect(program.stdout()).toBe(`proxycache listening on ${program.url}\n`);
  });

  test('is alive and ready while its upstream is not', async () => {
    const { url } = await start(['--upstream', 'gone-away=http://127.0.0.1:1', '--default-upstream', 'gone-away']);
    expect((await fetch(`${url}/v2/a/manifests/1`)).status).toBe(502);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  test('warns of a key that hides an account of Docker Hub', async () => {
    const program = await start(['--upstream', `local=${upstream.url}`]);
    await expect
      .poll(() => logOf(program), patiently)
      .toEqual([
        expect.objectContaining({
          level: 'warn',
          msg: expect.stringContaining('"local" hides the Docker Hub account'),
        }),
      ]);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('ends on %s when a pull under way is whole', async (signal) => {
    const image = upstream.addImage(`team/${signal.toLowerCase()}`, { tag: '1', layerSizes: [3_000_000] });
    const held = chunkGate(1_000_000);
    const path = `/v2/team/${signal.toLowerCase()}/blobs/${image.layers[0]?.digest}`;
    upstream.on({ method: 'GET', path }, { throttle: held });
    const { url, child, ended } = await start(['--upstream', `my-own=${upstream.url}`, '--default-upstream', 'my-own']);
    held.allow();
    const response = await fetch(url + path);
    // A terminal's Ctrl-C comes twice where npm started it.
    child.kill(signal);
    child.kill(signal);
    await expect.poll(() => fetch(url).catch(() => 'refused'), patiently).toBe('refused');
    held.open();
    expect(await bytesOf(response)).toHaveLength(3_000_000);
    expect(await ended).toBe(0);
  });

  test('ends at once when it is told again', async () => {
    const image = upstream.addImage('team/slow', { tag: '1', layerSizes: [3_000_000] });
    const path = `/v2/team/slow/blobs/${image.layers[0]?.digest}`;
    const held = chunkGate(1_000_000);
    upstream.on({ method: 'GET', path }, { throttle: held });
    const { url, child, ended } = await start(['--upstream', `my-own=${upstream.url}`, '--default-upstream', 'my-own']);
    held.allow();
    const response = await fetch(url + path);
    child.kill('SIGTERM');
    await expect.poll(() => fetch(url).catch(() => 'refused'), patiently).toBe('refused');
    const again = setInterval(() => child.kill('SIGTERM'), 100);
    expect(await ended).toBe(1);
    clearInterval(again);
    await expect(response.arrayBuffer()).rejects.toThrow();
    held.open();
  });
});

test('what should not happen is the last line of the log, and ends the server with 1', async () => {
  const program = await start([], defectAtSignal());
  program.child.kill('SIGUSR2');
  expect(await program.ended).toBe(1);
  expect(logOf(program).at(-1)).toMatchObject({ level: 'fatal', err: { message: 'a defect' } });
});

test('a server whose log is on a full disk ends on SIGTERM', async () => {
  // Linux has a file that is.
  const log = openSync('/dev/full', 'w');
  const { child, ended } = await start([], {}, log);
  closeSync(log);
  child.kill('SIGTERM');
  expect(await ended).toBe('SIGKILL');
});

describe('a server whose log nobody reads', () => {
  const logs: number[] = [];
  afterEach(() => {
    for (const log of logs.splice(0)) closeSync(log);
  });

  /** Starts it, and has it log more than a pipe takes. */
  async function startUnread(args: readonly string[], environment: Record<string, string> = {}) {
    const pipe = join(folder, `unread-${performance.now()}`);
    execFileSync('mkfifo', [pipe]);
    const [log, beginning] = [openSync(pipe, 'r+'), openSync(pipe, 'r')];
    logs.push(log, beginning);
    const program = await start(args, environment, log);
    const pids: number[] = [];
    // The first lines tell of the workers, each in one piece.
    for (const some = Buffer.alloc(10_000); args.includes('--workers') && pids.length < 2; ) {
      const lines = some.toString('utf8', 0, readSync(beginning, some));
      pids.push(...Array.from(lines.matchAll(/"pid":(\d+)/g), ([, pid]) => Number(pid)));
    }
    for (let times = 0; times < 400; times++) {
      await bytesOf(await fetch(`${program.url}/v2/${'a'.repeat(1000)}`));
    }
    return { ...program, pids };
  }

  test('ends on SIGTERM', async () => {
    const { child, ended } = await startUnread([]);
    child.kill('SIGTERM');
    expect(await ended).toBe('SIGKILL');
  });

  test('ends on SIGTERM with its workers', async () => {
    const { child, ended, pids } = await startUnread(['--workers', '2', '--data', 'unread-workers']);
    child.kill('SIGTERM');
    // The few lines of a primary may find room.
    expect([0, 'SIGKILL']).toContain(await ended);
    await expect.poll(() => pids.filter(isAlive), patiently).toEqual([]);
  });

  test('ends when what should not happen does', async () => {
    const { child, ended } = await startUnread([], defectAtSignal());
    child.kill('SIGUSR2');
    expect(await ended).toBe('SIGKILL');
  });

  test('ends with its workers at once when it is told again', async () => {
    const image = upstream.addImage('team/unread', { tag: '1', layerSizes: [3_000_000] });
    const path = `/v2/team/unread/blobs/${image.layers[0]?.digest}`;
    upstream.on({ method: 'GET', path }, { throttle: chunkGate(1_000_000) });
    const own = ['--upstream', `my-own=${upstream.url}`, '--default-upstream', 'my-own', '--data', 'unread'];
    writeFileSync(join(folder, 'unread.yaml'), 'limits: {shutdownWithin: 10m}\n');
    const program = await startUnread([...own, '--workers', '2', '--config', 'unread.yaml']);
    const cutOff = expect(fetch(program.url + path).then((answer) => answer.arrayBuffer())).rejects.toThrow();
    const again = setInterval(() => program.child.kill('SIGTERM'), 200);
    expect([1, 'SIGKILL']).toContain(await program.ended);
    clearInterval(again);
    await cutOff;
    await expect.poll(() => program.pids.filter(isAlive), patiently).toEqual([]);
  });
});

test('check says on stdout what is wrong with a configuration, and ends with 0 only if nothing is', async () => {
  const file = join(folder, 'to-check.yaml');
  writeFileSync(file, JSON.stringify({ upstreams: [{ key: 'my-own', url: upstream.url }] }));
  const fine = run(['check', file]);
  expect(await fine.ended).toBe(0);
  expect(fine.stdout()).toMatch(/^ok {7}the configuration\nok {7}my-own at 127/);
  const moved = run(['check', file, '--upstream', 'my-own=http://127.0.0.1:1']);
  expect(await moved.ended).toBe(1);
  expect(moved.stdout()).toContain('FAILED   my-own at 127.0.0.1:1: refused');
  writeFileSync(file, 'upstreams: 7');
  const wrong = run(['check', file]);
  expect(await wrong.ended).toBe(1);
  expect(wrong.stderr()).toMatch(/^proxycache: .*to-check\.yaml: upstreams/);
});

describe('a server of several workers', () => {
  const listening = (program: Program) => logOf(program).filter(({ msg }) => msg === 'worker listens');
  /** By a connection of its own, as each goes to the next worker. */
  const get = (url: string, within = patiently.timeout) =>
    fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(within) });

  test('serves by each of them what any of them stored, and replaces one that is killed', async () => {
    const image = upstream.addImage('team/shared', { tag: '1', layerSizes: [3_000_000] });
    const own = ['--upstream', `my-own=${upstream.url}`, '--default-upstream', 'my-own', '--data', 'workers'];
    const program = await start([...own, '--workers', '2']);
    const blob = `${program.url}/v2/team/shared/blobs/${image.layers[0]?.digest}`;
    expect((await get(`${program.url}/v2/team/shared/manifests/1`)).status).toBe(200);
    // Each worker gets some of them.
    const pulled = await Promise.all(Array.from({ length: 6 }, async () => bytesOf(await get(blob))));
    for (const bytes of pulled) expect(bytes).toHaveLength(image.layers[0]!.size);
    const asked = upstream.requests.filter(({ method, path }) => method === 'GET' && path.includes('/shared/blobs/'));
    expect(asked).toHaveLength(1);
    // A blob is stored soon after its last byte was sent.
    const askedFor = async () => {
      upstream.clear();
      for (let time = 0; time < 4; time++) expect(await bytesOf(await get(blob))).toHaveLength(image.layers[0]!.size);
      return upstream.requests;
    };
    await expect.poll(askedFor, patiently).toEqual([]);
    const served = () => logOf(program).flatMap(({ msg, worker }) => (msg === 'request' ? [worker] : []));
    await expect.poll(() => new Set(served()), patiently).toEqual(new Set([1, 2]));

    const [doomed] = listening(program);
    process.kill(Number(doomed?.['pid']), 'SIGKILL');
    await expect.poll(() => listening(program), patiently).toHaveLength(3);
    expect(logOf(program)).toContainEqual(
      expect.objectContaining({ level: 'error', worker: doomed?.['worker'], how: 'SIGKILL' }),
    );
    for (let time = 0; time < 4; time++) expect((await get(`${program.url}/readyz`)).status).toBe(200);
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
    expect(program.stdout()).toBe(`proxycache listening on ${program.url}\n`);
  });

  test('ends on SIGTERM when a pull under way is whole, and takes no new ones meanwhile', async () => {
    const image = upstream.addImage('team/last', { tag: '1', layerSizes: [3_000_000] });
    const path = `/v2/team/last/blobs/${image.layers[0]?.digest}`;
    const held = chunkGate(1_000_000);
    upstream.on({ method: 'GET', path }, { throttle: held });
    const own = ['--upstream', `my-own=${upstream.url}`, '--default-upstream', 'my-own', '--data', 'last'];
    writeFileSync(join(folder, 'patient.yaml'), 'limits: {shutdownWithin: 60s}\n');
    const { url, child, ended } = await start([...own, '--workers', '2', '--config', 'patient.yaml']);
    held.allow();
    const response = await fetch(url + path);
    child.kill('SIGTERM');
    // One that Node takes while the last worker closes is never given to any: it ends with the program.
    await expect.poll(() => get(url, 5_000).catch(({ cause }) => cause?.code), patiently).toBe('ECONNREFUSED');
    held.open();
    expect(await bytesOf(response)).toHaveLength(3_000_000);
    expect(await ended).toBe(0);
  });

  test('closes connections over limits.maxConnections of each worker', async () => {
    writeFileSync(join(folder, 'few.yaml'), 'limits: {maxConnections: 1}\n');
    const program = await start(['--workers', '2', '--config', 'few.yaml']);
    const told: string[] = [];
    for (let times = 0; times < 6; times++) {
      const socket = connect(Number(new URL(program.url).port), '127.0.0.1').setEncoding('utf8');
      // One that is closed with its request unread is reset.
      socket.on('error', () => undefined).once('data', (text: string) => told.push(text.split('\r\n', 1)[0] ?? ''));
      socket.once('close', () => told.push('closed')).write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
      await expect.poll(() => told, patiently).toHaveLength(times + 1);
    }
    expect(told.sort()).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK', 'closed', 'closed', 'closed', 'closed']);
  });

  test('ends with 1 and says why when no worker comes up any more', async () => {
    const program = await start(['--workers', '2'], dyingWorkers('now'));
    writeFileSync(join(folder, 'now'), '');
    for (const { pid } of listening(program)) process.kill(Number(pid), 'SIGKILL');
    expect(await program.ended).toBe(1);
    expect(program.stderr()).toContain(
      'proxycache: no worker comes up any more: a worker ended with code 7 before it listened\n',
    );
  });

  test('goes on by the workers that it has while no other can be started', async () => {
    const preload = join(folder, 'no-more.cjs');
    writeFileSync(
      preload,
      `const { execPath } = process;
       process.on('SIGUSR2', () => { process.execPath = process.execPath === execPath ? '/nowhere/node' : execPath; });\n`,
    );
    const program = await start(['--workers', '2'], { NODE_OPTIONS: `--require ${preload}` });
    program.child.kill('SIGUSR2');
    process.kill(Number(listening(program)[0]?.['pid']), 'SIGKILL');
    const refused = expect.objectContaining({ level: 'error', how: 'spawn /nowhere/node ENOENT' });
    await expect.poll(() => logOf(program), patiently).toContainEqual(refused);
    expect((await get(`${program.url}/readyz`)).status).toBe(200);
    program.child.kill('SIGUSR2');
    await expect.poll(() => listening(program), patiently).toHaveLength(3);
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
  });

  test('tries again when the system refuses a process in the place of a worker that died', async () => {
    const program = await start(['--workers', '2'], refusedWorkers([3, 4]));
    process.kill(Number(listening(program)[0]?.['pid']), 'SIGKILL');
    await expect.poll(() => listening(program), patiently).toHaveLength(3);
    const refused = logOf(program).filter(({ how }) => how === 'spawn ENOMEM');
    expect(refused).toEqual([
      expect.objectContaining({ level: 'error', msg: 'no worker can be started; it is tried again', againInMs: 200 }),
      expect.objectContaining({ level: 'error', againInMs: 400 }),
    ]);
    program.child.kill('SIGTERM');
    expect(await program.ended).toBe(0);
  });

  test('ends its workers at once when it is told again, and when it is killed', async () => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const image = upstream.addImage(`team/${signal.toLowerCase()}-workers`, { tag: '1', layerSizes: [3_000_000] });
      const path = `/v2/team/${signal.toLowerCase()}-workers/blobs/${image.layers[0]?.digest}`;
      upstream.on({ method: 'GET', path }, { throttle: chunkGate(1_000_000) });
      const own = ['--upstream', `my-own=${upstream.url}`, '--default-upstream', 'my-own', '--data', signal];
      const program = await start([...own, '--workers', '2']);
      const pids = listening(program).map(({ pid }) => Number(pid));
      const response = fetch(program.url + path).then((answer) => answer.arrayBuffer());
      const cutOff = expect(response).rejects.toThrow();
      const again = setInterval(() => program.child.kill(signal), 200);
      expect(await program.ended).toBe(signal === 'SIGTERM' ? 1 : 'SIGKILL');
      clearInterval(again);
      await cutOff;
      await expect.poll(() => pids.filter(isAlive), patiently).toEqual([]);
    }
  });
});

/** An environment in which these attempts to start a worker are refused, counted from 1. */
function refusedWorkers(refused: readonly number[]): Record<string, string> {
  const preload = join(folder, `refused-${refused.join('-')}.mjs`);
  writeFileSync(
    preload,
    `import cluster from 'node:cluster';
     const { fork } = cluster;
     let times = 0;
     cluster.fork = () => {
       times++;
       if (${JSON.stringify(refused)}.includes(times)) throw new Error('spawn ENOMEM');
       return fork();
     };\n`,
  );
  return { NODE_OPTIONS: `--import ${preload}` };
}

/** An environment in which a defect shows at SIGUSR2. */
function defectAtSignal(): Record<string, string> {
  const preload = join(folder, 'defect.cjs');
  writeFileSync(preload, "process.on('SIGUSR2', () => { throw new Error('a defect'); });\n");
  return { NODE_OPTIONS: `--require ${preload}` };
}

/** An environment in which workers end as they start, once there is a file of this name. */
function dyingWorkers(file: string): Record<string, string> {
  const preload = join(folder, 'die.cjs');
  const when = JSON.stringify(join(folder, file));
  writeFileSync(
    preload,
    `if (process.argv[1]?.endsWith('worker.js') && require('node:fs').existsSync(${when})) process.exit(7);\n`,
  );
  return { NODE_OPTIONS: `--require ${preload}` };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe('a configuration file', () => {
  test('with a Redis that is away keeps nothing from starting, and the log says why it is away', async () => {
    writeFileSync(join(folder, 'redis.yaml'), 'storage: {metadata: {redis: {url: "redis://127.0.0.1:1"}}}\n');
    const program = await start(['--config', 'redis.yaml']);
    const error = expect.stringContaining('connect ECONNREFUSED 127.0.0.1:1');
    const away = { level: 'warn', msg: 'Redis is away: pulls go on without it', error };
    await expect.poll(() => logOf(program), patiently).toContainEqual(expect.objectContaining(away));
  });

  test('says where content comes from and stays, with what the environment has', async () => {
    const image = upstream.addImage('team/configured', { tag: '1' });
    writeFileSync(
      join(folder, 'good.yaml'),
      `storage: {directory: configured}\nupstreams:\n  - key: own\n    url: \${UPSTREAM}\ndefaultUpstream: own\nlog: {requests: false}\n`,
    );
    const program = await start(['--config', 'good.yaml'], { UPSTREAM: upstream.url });
    const response = await fetch(`${program.url}/v2/team/configured/manifests/1`);
    expect(response.headers.get('docker-content-digest')).toBe(image.root.digest);
    expect(existsSync(join(folder, 'configured', 'blobs'))).toBe(true);
    expect(program.stderr()).toBe('');
  });

  test('counts less than the command line', async () => {
    writeFileSync(join(folder, 'port.yaml'), 'listen: {port: 1}\n');
    const { url } = await start(['--config', 'port.yaml']);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });
});

describe('what cannot work ends with 1 and says why, with nothing on stdout', () => {
  async function failure(...args: string[]): Promise<string> {
    const program = run(args);
    expect(await program.ended).toBe(1);
    expect(program.stdout()).toBe('');
    return program.stderr();
  }

  test('a wrong configuration', async () => {
    writeFileSync(join(folder, 'wrong.yaml'), 'upstreams: [{key: hub, url: docker.io, freshfor: 1h}]\n');
    expect(await failure('--config', 'wrong.yaml')).toBe(
      'proxycache: wrong.yaml:\n' +
        '  upstreams[0].url: expected an http(s) URL without user, query and fragment, received "docker.io"; ' +
        'did you mean "https://registry-1.docker.io"?\n' +
        '  upstreams[0].freshfor: unknown key; did you mean "freshFor"?\n',
    );
  });

  test('a default upstream that is none', async () => {
    expect(await failure('--default-upstream', 'other', '--port', '0')).toMatch(
      /^proxycache: defaultUpstream: expected one of "docker-hub", .*, received "other"\n$/,
    );
  });

  test('a flag that is none', async () => {
    expect(await failure('--upstreams', 'a=b')).toContain("Unknown option '--upstreams'");
  });

  test('a port in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    expect(await failure('--port', `${port}`)).toMatch(
      /^proxycache: listen\.port: 127\.0\.0\.1 port \d+ is in use; .*\n$/,
    );
    other.close();
  });

  test('workers that the system refuses', async () => {
    for (const refused of [[1], [2]]) {
      const program = run(['--workers', '3', '--port', '0'], refusedWorkers(refused));
      expect(await program.ended).toBe(1);
      expect(program.stdout()).toBe('');
      expect(program.stderr()).toContain('proxycache: no worker can start: spawn ENOMEM\n');
    }
  });

  test('a port in use, for all of several workers', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    expect(await failure('--port', `${port}`, '--workers', '3')).toMatch(
      /^proxycache: listen\.port: 127\.0\.0\.1 port \d+ is in use; .*\n$/,
    );
    other.close();
  });

  test('workers that end as soon as they start', async () => {
    const program = run(['--workers', '2', '--port', '0'], dyingWorkers('.'));
    expect(await program.ended).toBe(1);
    expect(program.stdout()).toBe('');
    expect(program.stderr()).toBe('proxycache: a worker ended with code 7 before it listened\n');
  });

  test('a folder that is a file', async () => {
    writeFileSync(join(folder, 'file'), '');
    expect(await failure('--data', 'file', '--port', '0')).toMatch(/^proxycache: .*file.*\n$/);
  });

  // Where there is no /proc there is none to be made either.
  test('a folder that cannot be made', async () => {
    expect(await failure('--data', '/proc/x', '--port', '0')).toMatch(
      /^proxycache: could not use \/proc\/x as storage: .*\n$/,
    );
    writeFileSync(join(folder, 'spool.yaml'), 'storage: {directory: with-spool, spool: /proc/x}\n');
    expect(await failure('--config', 'spool.yaml', '--port', '0')).toMatch(
      /^proxycache: cannot use the spool folder \/proc\/x, .*\n$/,
    );
  });

  test('credentials of an upstream at an address that a network reaches', async () => {
    writeFileSync(
      join(folder, 'open.yaml'),
      'upstreams: [{source: ghcr, auth: {token: t}}]\nlisten: {host: 0.0.0.0}\n',
    );
    expect(await failure('--config', 'open.yaml')).toContain(
      'say in access who may, or set allowAnonymous: true if that is meant',
    );
  });
});

test('--help shows the flags and ends with 0', async () => {
  const program = run(['--help']);
  expect(await program.ended).toBe(0);
  expect(program.stdout()).toMatch(/^Usage: .*--upstream KEY=URL/s);
});
