import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFakeUpstream } from '@proxycache/test-kit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { defaults } from '../../packages/core/src/options.ts';
import { parseDuration } from '../../packages/core/src/runtime/duration.ts';
import { codeWords, fencesOf, readPage, root, tableRows } from './markdown.ts';
import { readmeProgram, startReadmeProgram } from './readme-program.ts';

const readme = readPage('README.md').text;
const lines = (text: string) => text.trimEnd().split('\n');

/** Commands in the shell fences of a page, and in its tables and prose, without comments. */
function commandsOf(text: string): string[] {
  const fenced = fencesOf(text)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ code }) => lines(code).map((line) => line.replace(/ +#.*$/, '').trim()));
  return [...fenced, ...codeWords(text)].filter((command) => /^(npm|npx) /.test(command));
}

async function get(url: string, headers: Record<string, string> = {}): Promise<{ response: Response; bytes: Buffer }> {
  const response = await fetch(url, { headers });
  return { response, bytes: Buffer.from(await response.arrayBuffer()) };
}

const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

describe('README', () => {
  it('has at most 120 lines, AGENTS.md at most 80', () => {
    expect(lines(readme).length).toBeLessThanOrEqual(120);
    expect(lines(readPage('AGENTS.md').text).length).toBeLessThanOrEqual(80);
  });

  it('has a program of at most 12 lines', () => {
    expect(lines(readmeProgram()).length).toBeLessThanOrEqual(12);
    expect(lines(readmeProgram()).filter((line) => line.length > 100)).toEqual([]);
  });

  it('shows it, the freshness table and the commands on its first screen', () => {
    const screen = lines(readme).slice(0, 45).join('\n');
    for (const word of [
      'createProxyCache',
      'docker pull localhost:5000/',
      '| it is fresh',
      'npm start',
      'npm test',
      'npm install',
    ]) {
      expect(screen).toContain(word);
    }
    expect(tableRows(screen)).toHaveLength(4);
  });

  it('names the defaults that the code has', () => {
    const documented = new Map(
      tableRows(readme.split('\n## Defaults\n')[1]?.split('\n## ')[0] ?? '').flatMap(([names = '', value = '']) =>
        codeWords(names).map((name, at) => [name, defaultIn(value, at)] as const),
      ),
    );
    const { upstream, maxRequests, maxIngests } = defaults;
    const ms = (duration: Parameters<typeof parseDuration>[0]) => parseDuration(duration);
    expect(Object.fromEntries(documented)).toEqual({
      freshFor: ms(upstream.freshFor),
      staleIfErrorFor: ms(upstream.staleIfErrorFor),
      staleWhileRevalidateFor: ms(upstream.staleWhileRevalidateFor),
      absentFor: ms(upstream.absentFor),
      onAbsent: upstream.onAbsent,
      onDenied: upstream.onDenied,
      auth: upstream.auth,
      manifestWithin: ms(upstream.manifestWithin),
      blobWithin: ms(upstream.blobWithin),
      validateWithin: ms(upstream.validateWithin),
      'limits.maxConnections': upstream.limits.maxConnections,
      maxRequests,
      maxIngests,
      memory: `${(['manifests', 'blobs', 'buffers'] as const).map((kind) => defaults.memory[kind] / 1024 ** 2).join(' + ')} MiB`,
      minFree: '5 % of the disk, at most 1 GiB',
      'retention.unusedFor': `${ms(defaults.retention.unusedFor as '7d') / 86_400_000} days`,
    });
  });

  it.each(['README.md', 'CONTRIBUTING.md', 'AGENTS.md'])('%s names only commands that there are', (page) => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const commands = commandsOf(readPage(page).text);
    expect(commands).toEqual(expect.arrayContaining(['npm test']));
    for (const command of commands) {
      const [, run, script] = /^npm (?:(run) )?(\S+)/.exec(command) ?? [];
      const isNpms = run === undefined && ['install'].includes(script ?? '');
      if (script !== undefined && !isNpms) expect(Object.keys(scripts)).toContain(script);
    }
  });
});

/** A documented default as the code has it; of several in one cell, the one at this place. */
function defaultIn(cell: string, at: number): unknown {
  const quoted = codeWords(cell)[0];
  if (quoted !== undefined) return quoted.replaceAll("'", '');
  if (cell === 'no limit') return Number.POSITIVE_INFINITY;
  const one = /^[\d,]*\d(?: s)?, /.test(cell) ? (cell.split(', ')[at] ?? '') : cell;
  if (/^\d+ s$/.test(one)) return Number(one.slice(0, -2)) * 1_000;
  return /^[\d,]+$/.test(one) ? Number(one.replaceAll(',', '')) : one;
}

describe("the README's program", () => {
  const temporaryFolder = () => {
    const folder = mkdtempSync(join(tmpdir(), 'readme-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  };

  it('pulls an image through, and serves it on with the upstream down and after a restart', async () => {
    const upstream = await startFakeUpstream();
    onTestFinished(() => upstream.stop());
    const image = upstream.addImage('library/alpine', { tag: 'latest', layerSizes: [3_000_000, 20_000] });
    const cacheFolder = temporaryFolder();
    const first = await startReadmeProgram({ upstreamUrl: upstream.url, cacheFolder });
    onTestFinished(() => first.stop());

    const [, path] = /`docker pull localhost:5000\/([a-z/-]+)`/.exec(readme) ?? [];
    expect(path).toBe('docker-hub/library/alpine');
    const pull = async (base: string) => {
      const manifest = await get(`${base}/v2/${path}/manifests/latest`, { accept: image.root.mediaType });
      expect(manifest.response.status).toBe(200);
      expect(digestOf(manifest.bytes)).toBe(image.root.digest);
      for (const { digest } of image.blobs) {
        const blob = await get(`${base}/v2/${path}/blobs/${digest}`);
        expect([blob.response.status, digestOf(blob.bytes)]).toEqual([200, digest]);
      }
      return manifest.response.headers;
    };
    expect((await pull(first.url)).get('warning')).toBeNull();
    await upstream.stop();
    expect((await pull(first.url)).get('warning')).toMatch(/^299 - /);

    await first.stop();
    const second = await startReadmeProgram({ upstreamUrl: upstream.url, cacheFolder });
    onTestFinished(() => second.stop());
    expect((await pull(second.url)).get('warning')).toMatch(/^299 - /);
  });

  it('answers what an upstream does not have by 404, and what it could not ask by 502', async () => {
    const upstream = await startFakeUpstream();
    onTestFinished(() => upstream.stop());
    const program = await startReadmeProgram({ upstreamUrl: upstream.url, cacheFolder: temporaryFolder() });
    onTestFinished(() => program.stop());
    const url = `${program.url}/v2/docker-hub/library/none/manifests/latest`;
    expect((await get(url)).response.status).toBe(404);
    await upstream.stop();
    expect((await get(url)).response.status).toBe(502);
  });
});
