import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chunkGate, type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

/** The built program: it runs as users run it. */
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'proxycache-main-'));
const running = new Set<ChildProcess>();
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

function run(args: readonly string[], environment: Record<string, string> = {}): Program {
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
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
async function start(args: readonly string[], environment: Record<string, string> = {}) {
  const program = run(['--port', '0', ...args], environment);
  await expect.poll(() => program.stdout() || program.stderr(), { timeout: 10_000 }).toContain('\n');
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
      .poll(() => logOf(program))
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
      .poll(() => logOf(program))
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
    await expect.poll(() => fetch(url).catch(() => 'refused')).toBe('refused');
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
    await expect.poll(() => fetch(url).catch(() => 'refused')).toBe('refused');
    const again = setInterval(() => child.kill('SIGTERM'), 100);
    expect(await ended).toBe(1);
    clearInterval(again);
    await expect(response.arrayBuffer()).rejects.toThrow();
    held.open();
  });
});

describe('a configuration file', () => {
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

  test('a folder that is a file', async () => {
    writeFileSync(join(folder, 'file'), '');
    expect(await failure('--data', 'file', '--port', '0')).toMatch(/^proxycache: .*file.*\n$/);
  });

  // Where there is no /proc there is none to be made either.
  test('a folder that cannot be made', async () => {
    expect(await failure('--data', '/proc/x', '--port', '0')).toMatch(
      /^proxycache: could not use \/proc\/x as storage: .*\n$/,
    );
  });

  test('credentials of an upstream at an address that a network reaches', async () => {
    writeFileSync(
      join(folder, 'open.yaml'),
      'upstreams: [{source: ghcr, auth: {token: t}}]\nlisten: {host: 0.0.0.0}\n',
    );
    expect(await failure('--config', 'open.yaml')).toContain('set allowAnonymous: true if that is meant');
  });
});

test('--help shows the flags and ends with 0', async () => {
  const program = run(['--help']);
  expect(await program.ended).toBe(0);
  expect(program.stdout()).toMatch(/^Usage: .*--upstream KEY=URL/s);
});
