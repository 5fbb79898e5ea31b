import { describe, expect, it } from 'vitest';
import { readPage } from '../../docs/markdown.ts';
import { chartOf } from './chart.ts';
import { figuresOf } from './figures.ts';
import { replaceMarked } from './marked.ts';
import type { Sample } from './samples.ts';

describe('the page of the benchmark', () => {
  const page = readPage('docs/benchmarks.md').text;

  it('takes new figures in the place of the old ones, and keeps the rest', () => {
    const once = replaceMarked(page, 'the first figures');
    const twice = replaceMarked(once, 'the second figures');
    expect(twice).toContain('the second figures');
    expect(twice).not.toContain('the first figures');
    expect(twice.slice(0, 200)).toBe(page.slice(0, 200));
  });

  it('without its marks is left alone', () => {
    expect(() => replaceMarked('# Page', 'x')).toThrow('lacks');
  });
});

describe('the chart', () => {
  const sample = (contestant: string, part: string, cell: string, values: Sample['values']): Sample => ({
    part,
    cell,
    contestant,
    values,
  });
  const samples = [
    sample('registry', 'manifests', 'GET by digest c64', { requestsPerSecond: 1000 }),
    sample('us', 'manifests', 'GET by digest c64', { requestsPerSecond: 60_000 }),
    sample('registry', 'herd', '64 MiB', { wall: 2000 }),
    sample('us', 'herd', '64 MiB', { wall: 1000 }),
    sample('nginx', 'herd', '64 MiB', { wall: 4000 }),
  ];

  it('has a dot for each contestant, so many times as fast as docker-registry', () => {
    const chart = chartOf(figuresOf(samples));
    expect([...chart.matchAll(/<title>(\w+: [\d.]+x)<\/title>/g)].map(([, title]) => title)).toEqual([
      'proxycache: 60.0x',
      'nginx: 0.50x',
      'proxycache: 2.00x',
    ]);
  });

  it('places what is faster further to the right', () => {
    const at = [...chartOf(figuresOf(samples)).matchAll(/<circle cx="(\d+)" cy="\d+" r="\d"[^>]*><title>/g)];
    const [manifests, nginx, herd] = at.map(([, x]) => Number(x));
    expect([nginx! < herd!, herd! < manifests!]).toEqual([true, true]);
  });
});
