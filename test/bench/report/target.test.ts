import { describe, expect, it } from 'vitest';
import { targets } from '../targets.ts';
import { figuresOf } from './figures.ts';
import type { Metric } from './metrics.ts';
import type { Sample } from './samples.ts';
import { targetsTable, verdictOf } from './target.ts';

const samples = (part: string, cell: string, metric: Metric, by: Record<string, readonly number[]>): Sample[] =>
  Object.entries(by).flatMap(([contestant, values]) =>
    values.map((value) => ({ part, cell, contestant, values: { [metric]: value } })),
  );

describe('a check', () => {
  const measured = [
    ...samples('manifests', 'GET by digest c16', 'requestsPerSecond', { us: [60, 66, 600], registry: [1, 1, 1] }),
    ...samples('manifests', 'GET by digest c64', 'requestsPerSecond', { us: [50, 40, 45], registry: [1, 1, 1] }),
  ];
  const figures = figuresOf(measured);
  const measure = () => figures.ratio('manifests', /^GET/, 'requestsPerSecond', 'registry');

  it('is held against the worst of its cells', () => {
    expect(verdictOf({ what: 'x', atLeast: 45, measure }, figures)).toEqual({ worst: 45, isMet: true });
    expect(verdictOf({ what: 'x', atLeast: 46, measure }, figures)).toEqual({ worst: 45, isMet: false });
    expect(verdictOf({ what: 'x', atMost: 66, measure }, figures)).toEqual({ worst: 66, isMet: true });
    expect(verdictOf({ what: 'x', atMost: 65, measure }, figures)).toEqual({ worst: 66, isMet: false });
  });

  it('of what was not measured has no verdict', () => {
    expect(verdictOf({ what: 'x', atMost: 1, measure: () => [] }, figures)).toBeUndefined();
  });

  it('of one cell against another compares rounds', () => {
    const toOther = figures.ratioOfCells('manifests', /c64$/, 'requestsPerSecond', (cell) => cell.replace('64', '16'));
    expect(toOther).toEqual([40 / 66]);
  });
});

describe('the targets', () => {
  it('are told where they were measured, and not elsewhere', () => {
    const measured = samples('herd', '64 MiB', 'upstreamGets', { us: [1, 1, 2], registry: [50, 50, 50] });
    const [, , ...rows] = targetsTable(targets, figuresOf(measured)).split('\n');
    expect(rows.map((row) => row.split('|').map((cell) => cell.trim()))).toEqual([
      ['', 'herd: 50 clients, one cold blob', 'upstream GETs', '<= 1 GETs', '2 GETs', 'missed', ''],
    ]);
  });

  it('ask for cells and figures that the parts have', () => {
    const everything: Sample[] = [];
    const cells: [string, string, readonly Metric[]][] = [
      ['manifests', 'GET by digest c16', ['requestsPerSecond', 'cpuPerRequest', 'p99']],
      ['manifests', 'GET by tag c16', ['requestsPerSecond']],
      ['manifests', 'HEAD by digest c16', ['requestsPerSecond']],
      ['blobs', '64 MiB c1', ['throughput', 'cpuPerGiB']],
      ['blobs', '1 MiB c1', ['throughput']],
      ['herd', '64 MiB', ['upstreamGets', 'wall', 'firstByteMax', 'memory']],
      ['cold', 'image, 5 x 64 MiB', ['wall', 'cpu']],
      ['cold', 'one blob of 64 MiB', ['wall']],
      ['link', 'image, 5 x 64 MiB', ['wall', 'manifestFirstByte', 'firstByte']],
      ['link', 'image after image', ['manifestFirstByte', 'firstByte']],
      ['link', 'second image, a blob at a time', ['firstByte']],
      ['link', 'image after image, a blob at a time', ['firstByte']],
      ['segments', '1024 MiB', ['wall']],
      ['host', '125 MB/s', ['p99', 'loopP99']],
      ['host', 'full speed', ['p99']],
      ['slow', 'stored, beside them', ['wall', 'memory']],
      ['slow', 'stored, alone', ['wall']],
      ['scale', '0 records', ['cpuPerRequest', 'memory']],
      ['scale', '100,000 records', ['cpuPerRequest', 'memory', 'startUp']],
      ['workers', 'GET by digest c16', ['requestsPerSecond', 'cpuPerRequest']],
    ];
    for (const [part, cell, metrics] of cells) {
      for (const contestant of ['us', 'registry', 'nginx', 'bare', 'direct', 'pass', 'apart', 'one']) {
        const values = Object.fromEntries(metrics.map((metric) => [metric, 1]));
        everything.push({ part, cell, contestant, values });
      }
    }
    const figures = figuresOf(everything);
    for (const { work, checks } of targets) {
      for (const check of checks) {
        expect([work, check.what, verdictOf(check, figures)]).toEqual([work, check.what, expect.anything()]);
      }
    }
  });
});
