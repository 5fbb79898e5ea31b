import type { Figures } from './report/figures.ts';
import type { Metric } from './report/metrics.ts';
import { geometricMean } from './report/statistics.ts';
import type { Target } from './report/target.ts';

/** A measure: ours to somebody's, in the cells of a part. */
const to = (other: string, part: string, cells: RegExp, metric: Metric) => (figures: Figures) =>
  figures.ratio(part, cells, metric, other);

/** A measure: the median of ours. */
const ours = (part: string, cells: RegExp, metric: Metric) => (figures: Figures) => figures.of(part, cells, metric);

/** One value for all cells of a measure. */
const mean = (measure: (figures: Figures) => readonly number[]) => (figures: Figures) => {
  const values = measure(figures);
  return values.length === 0 ? [] : [geometricMean(values)];
};

const inverse = (measure: (figures: Figures) => readonly number[]) => (figures: Figures) =>
  measure(figures).map((value) => 1 / value);

const large = /^(64 MiB|1 GiB) /;
const manyRecords = /^(100,000|1,000,000) /;
const get = /^GET by digest/;
const image = /^image, /;
const inStride = /^image after image$/;
const aloneAtFirst = /^second image, a blob at a time$/;
const aloneInStride = /^image after image, a blob at a time$/;

/** What the cache aims at. A missed target fails nothing: it is told. */
export const targets: readonly Target[] = [
  {
    work: 'stored manifest by digest, c16 and c64',
    checks: [
      {
        what: 'GET, requests/s x registry',
        atLeast: 60,
        measure: to('registry', 'manifests', get, 'requestsPerSecond'),
      },
      {
        what: 'HEAD, requests/s x registry',
        atLeast: 45,
        measure: to('registry', 'manifests', /^HEAD/, 'requestsPerSecond'),
      },
      { what: 'GET, requests/s x bare', atLeast: 0.85, measure: to('bare', 'manifests', get, 'requestsPerSecond') },
      { what: 'GET, CPU x bare', atMost: 1.2, measure: to('bare', 'manifests', get, 'cpuPerRequest') },
      { what: 'GET, p99 x registry', atMost: 1 / 40, measure: to('registry', 'manifests', get, 'p99') },
    ],
  },
  {
    work: 'stored manifest by tag, while fresh',
    checks: [
      {
        what: 'requests/s x registry',
        atLeast: 120,
        measure: to('registry', 'manifests', /^GET by tag/, 'requestsPerSecond'),
      },
      {
        what: 'requests/s x by digest',
        atLeast: 0.95,
        measure: (figures) =>
          figures.ratioOfCells('manifests', /^GET by tag/, 'requestsPerSecond', (cell) =>
            cell.replace('tag', 'digest'),
          ),
      },
    ],
  },
  {
    work: 'stored blob, 64 MiB and 1 GiB, c1, c4, c16',
    checks: [
      {
        what: 'throughput x registry, mean',
        atLeast: 1.25,
        measure: mean(to('registry', 'blobs', large, 'throughput')),
      },
      { what: 'throughput x registry, worst', atLeast: 1.1, measure: to('registry', 'blobs', large, 'throughput') },
      { what: 'CPU x registry, mean', atMost: 0.8, measure: mean(to('registry', 'blobs', large, 'cpuPerGiB')) },
      { what: 'CPU x registry, worst', atMost: 0.9, measure: to('registry', 'blobs', large, 'cpuPerGiB') },
      { what: 'throughput x nginx, mean', atLeast: 1.1, measure: mean(to('nginx', 'blobs', large, 'throughput')) },
    ],
  },
  {
    work: 'stored blobs of 1 MiB',
    checks: [{ what: 'throughput x registry', atLeast: 5, measure: to('registry', 'blobs', /^1 MiB /, 'throughput') }],
  },
  {
    work: 'herd: 50 clients, one cold blob',
    checks: [
      {
        what: 'upstream GETs',
        atMost: 1,
        unit: 'GETs',
        measure: (figures) => figures.all('herd', /^/, 'upstreamGets'),
      },
      { what: 'time x registry', atMost: 0.4, measure: to('registry', 'herd', /^/, 'wall') },
      { what: 'time x nginx', atMost: 0.85, measure: to('nginx', 'herd', /^/, 'wall') },
      { what: 'worst first byte x registry', atMost: 0.12, measure: to('registry', 'herd', /^/, 'firstByteMax') },
      { what: 'peak RSS', atMost: 140, unit: 'MiB', measure: ours('herd', /^/, 'memory') },
    ],
  },
  {
    work: 'cold image, loopback',
    checks: [
      { what: 'time x registry', atMost: 0.6, measure: to('registry', 'cold', /^image/, 'wall') },
      { what: 'CPU x registry', atMost: 0.5, measure: to('registry', 'cold', /^image/, 'cpu') },
    ],
  },
  {
    work: 'cold single blob, loopback',
    checks: [{ what: 'time x registry', atMost: 1.2, measure: to('registry', 'cold', /^one/, 'wall') }],
  },
  {
    work: 'cold image, link of 20 ms and 125 MB/s',
    checks: [
      { what: 'time x direct', atMost: 1.02, measure: to('direct', 'link', image, 'wall') },
      { what: 'time x registry', atMost: 0.5, measure: to('registry', 'link', image, 'wall') },
      { what: 'first byte of the manifest', atMost: 25, unit: 'ms', measure: ours('link', image, 'manifestFirstByte') },
      { what: 'first byte of a blob', atMost: 25, unit: 'ms', measure: ours('link', image, 'firstByte') },
      {
        what: 'first byte of a manifest, image after image',
        atMost: 25,
        unit: 'ms',
        measure: ours('link', inStride, 'manifestFirstByte'),
      },
      {
        what: 'first byte of a blob, image after image',
        atMost: 25,
        unit: 'ms',
        measure: ours('link', inStride, 'firstByte'),
      },
      {
        what: 'first byte of a blob, asked for alone',
        atMost: 25,
        unit: 'ms',
        measure: ours('link', aloneAtFirst, 'firstByte'),
      },
      {
        what: 'first byte of a blob, asked for alone, image after image',
        atMost: 25,
        unit: 'ms',
        measure: ours('link', aloneInStride, 'firstByte'),
      },
    ],
  },
  {
    work: 'cold blob, 15 MB/s a connection, segments',
    checks: [{ what: 'speed x direct', atLeast: 4, measure: inverse(to('direct', 'segments', /^/, 'wall')) }],
  },
  {
    work: "host's own handler, cold ingest at 125 MB/s",
    checks: [
      { what: 'p99', atMost: 3, unit: 'ms', measure: ours('host', /^125/, 'p99') },
      { what: 'event-loop delay, p99', atMost: 5, unit: 'ms', measure: ours('host', /^125/, 'loopP99') },
    ],
  },
  {
    work: "host's own handler, cold ingest at full speed",
    checks: [{ what: 'p99 x that of a process beside', atMost: 2, measure: to('apart', 'host', /^full/, 'p99') }],
  },
  {
    work: '200 slow clients of one blob',
    checks: [
      { what: 'peak RSS', atMost: 200, unit: 'MiB', measure: ours('slow', /beside/, 'memory') },
      {
        // What the slow ones are sent, 200 MB/s, is work on the same machine: less than this is a tie.
        what: 'time of a fast client x alone',
        atMost: 1.25,
        measure: (figures) => figures.ratioOfCells('slow', /^stored, beside/, 'wall', () => 'stored, alone'),
      },
    ],
  },
  {
    work: 'a store of 100,000 records or more',
    checks: [
      {
        what: 'manifest CPU x empty store',
        atMost: 1.05,
        measure: (figures) => figures.ratioOfCells('scale', manyRecords, 'cpuPerRequest', () => '0 records'),
      },
      { what: 'start', atMost: 2000, unit: 'ms', measure: ours('scale', manyRecords, 'startUp') },
      {
        what: 'peak RSS, more than empty',
        atMost: 150,
        unit: 'MiB',
        measure: (figures) => {
          const [empty] = figures.of('scale', /^0 /, 'memory');
          return empty === undefined ? [] : figures.of('scale', manyRecords, 'memory').map((value) => value - empty);
        },
      },
    ],
  },
  {
    work: 'stored manifest, two workers on two cores',
    checks: [
      { what: 'requests/s x one process', atLeast: 1.25, measure: to('one', 'workers', /^/, 'requestsPerSecond') },
      { what: 'CPU x one process', atMost: 1.1, measure: to('one', 'workers', /^/, 'cpuPerRequest') },
    ],
  },
];
