import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { type RunningExample, startExample } from './running-example.ts';

let running: RunningExample | undefined;
afterEach(async () => {
  await running?.clear();
  running = undefined;
});

describe.each(['node-http', 'express', 'koa'])('examples/%s', (name) => {
  test('answers the version check of registry clients, and ends by SIGTERM with exit code 0', async () => {
    running = await startExample(name);
    const answer = await fetch(`${running.url}/v2/`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
    const elsewhere = await fetch(running.url);
    expect(elsewhere.status).toBe(name === 'node-http' ? 404 : 200);
    // A keep-alive connection of ours is idle now; it must not hold the process.
    expect(await running.end('SIGTERM')).toBe(0);
  });

  test('fits on one screen', () => {
    const source = readFileSync(new URL(`../../examples/${name}/src/main.ts`, import.meta.url), 'utf8');
    expect(source.trimEnd().split('\n').length).toBeLessThanOrEqual(40);
  });
});
