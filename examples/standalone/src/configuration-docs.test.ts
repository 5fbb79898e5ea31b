import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseDuration } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
// Not public: only here, so that documented defaults are the real ones.
import { defaults } from '../../../packages/core/src/options.ts';
import { configTable, listConfigKeys } from './config-keys.ts';
import { configSchema } from './config-schema.ts';
import { usage } from './flags.ts';
import { loadConfig, parseConfig } from './load-config.ts';
import { fromPreset, needsUrl, presetNames } from './presets.ts';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const page = read('docs/configuration.md');
const keys = listConfigKeys(configSchema);

describe('docs/configuration.md', () => {
  test('has the table of the schema (npm run docs:configuration writes it)', () => {
    const table = /<!-- table -->\n\n(.*)\n\n<!-- end of table -->/s.exec(page)?.[1];
    expect(table).toBe(configTable(configSchema));
  });

  test('has every flag', () => {
    for (const [flag] of usage.matchAll(/--[a-z-]+/g)) expect(page).toContain(`\`${flag}`);
  });

  test.each(presetNames)('says what the source %s is', (source) => {
    const { key, url, hosts } = fromPreset(source, needsUrl(source) ? { url: 'https://any.example' } : {});
    const [row] = page.split('\n').filter((line) => line.startsWith(`| \`${source}\` `));
    expect(row).toContain(` | \`${key}\` `);
    expect(row).toContain(needsUrl(source) ? 'at its `url`' : new URL(url).host);
    expect(row).toContain(needsUrl(source) ? 'at its `url`' : hosts?.[0]);
  });

  test('shows configurations that are right', () => {
    const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text);
    expect(examples.length).toBeGreaterThan(0);
    for (const text of examples) {
      expect(parseConfig(parse(text!), { HUB_USER: 'u', HUB_TOKEN: 't' }).upstreams).not.toEqual([]);
    }
  });
});

describe('the table', () => {
  test('has a meaning for every key, and every key once', () => {
    expect(keys.length).toBeGreaterThan(50);
    expect(new Set(keys.map(({ path }) => path)).size).toBe(keys.length);
    for (const key of keys) expect(key).not.toMatchObject({ description: '' });
  });

  const { memory, maxIngests, maxRequests, threads, verifyOnRead, catalog, publicContent, offload, upstream } =
    defaults;
  const { hosts, tokenHosts, allowPrivate, ownVoice, auth, library, deniedMayMeanAbsent, ...settings } = upstream;
  const under = (prefix: string, values: object): [string, unknown][] =>
    Object.entries(values).flatMap(([name, value]) =>
      typeof value === 'object' ? under(`${prefix}${name}.`, value) : [[`${prefix}${name}`, value]],
    );
  test.each([
    ...under('', { catalog, publicContent, offload }),
    ...under('storage.', { verifyOnRead }),
    ...under('limits.', { maxIngests, maxRequests, threads }),
    ...under('limits.memory.', memory),
    ...under('upstreams[].', settings),
  ])("%s has core's default, %j", (path, value) => {
    const documented = keys.find((key) => key.path === path)?.default.replaceAll('`', '');
    expect(meaning(documented ?? '')).toEqual(meaning(value));
  });
});

/** A default as a number, where it can be read as a duration or a size. */
function meaning(value: unknown): unknown {
  if (value === 'unlimited') return Number.POSITIVE_INFINITY;
  if (value === 'true' || value === 'false') return value === 'true';
  const size = /^(\d+)MiB$/.exec(String(value));
  if (size) return Number(size[1]) * 2 ** 20;
  if (/^\d+(\.\d+)?$/.test(String(value))) return Number(value);
  return /^\d+[a-z]+$/.test(String(value)) ? parseDuration(String(value) as `${number}s`) : value;
}

test('config.example.yaml is right, and needs only the variables it names', () => {
  const file = fileURLToPath(new URL('../config.example.yaml', import.meta.url));
  const environment = { DOCKER_HUB_USER: 'user', DOCKER_HUB_TOKEN: 'token' };
  const { config } = loadConfig(file, environment);
  expect(config.storage.directory).toBe('./proxycache-data');
  expect(config.upstreams?.map(({ source, key }) => source ?? key)).toEqual(['docker-hub', 'ghcr', 'our-registry']);
  expect(() => loadConfig(file, {})).toThrow('the environment has no DOCKER_HUB_USER');
});
