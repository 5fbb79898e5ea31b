import type { Figures } from './figures.ts';
import type { Metric } from './metrics.ts';
import { times } from './table.ts';

/** A line of the chart: a kind of work, in which each contestant is so much better than docker-registry. */
interface Line {
  title: string;
  part: string;
  cells: RegExp;
  metric: Metric;
  /** Whether less is better. */
  isTime: boolean;
}

const lines: readonly Line[] = [
  {
    title: 'stored manifest by tag, 64 clients',
    part: 'manifests',
    cells: /^GET by tag c64/,
    metric: 'requestsPerSecond',
    isTime: false,
  },
  {
    title: 'stored manifest by digest, 64 clients',
    part: 'manifests',
    cells: /^GET by digest c64/,
    metric: 'requestsPerSecond',
    isTime: false,
  },
  {
    title: 'stored blobs of 1 MiB, 16 clients',
    part: 'blobs',
    cells: /^1 MiB c16/,
    metric: 'throughput',
    isTime: false,
  },
  {
    title: 'stored blob of 64 MiB, 16 clients',
    part: 'blobs',
    cells: /^64 MiB c16/,
    metric: 'throughput',
    isTime: false,
  },
  { title: 'cold image over a link of 20 ms', part: 'link', cells: /^image/, metric: 'wall', isTime: true },
  { title: 'cold image on loopback', part: 'cold', cells: /^image/, metric: 'wall', isTime: true },
  { title: '50 clients, one cold blob', part: 'herd', cells: /^/, metric: 'wall', isTime: true },
];

const contestants = [
  { name: 'us', title: 'proxycache', color: '#2f81f7', radius: 7 },
  { name: 'bare', title: 'bare Node', color: '#3fb950', radius: 5 },
  { name: 'nginx', title: 'nginx', color: '#d29922', radius: 5 },
] as const;

const left = 270;
const width = 760;
const right = 30;
const lineHeight = 34;
const top = 64;
const ticks = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];

/** Draws how contestants stand to docker-registry, as an SVG that reads well on dark and on light. */
export function chartOf(figures: Figures): string {
  const drawn = lines.flatMap((line) => {
    const points = contestants.flatMap(({ name }) => pointOf(line, name, figures));
    return points.length === 0 ? [] : [{ line, points }];
  });
  const largest = Math.max(2, ...drawn.flatMap(({ points }) => points.map(({ factor }) => factor)));
  const least = Math.min(0.5, ...drawn.flatMap(({ points }) => points.map(({ factor }) => factor)));
  const [from, to] = [Math.log(least * 0.9), Math.log(largest * 1.2)];
  const x = (factor: number) => Math.round(left + ((Math.log(factor) - from) / (to - from)) * (width - left - right));
  const bottom = top + drawn.length * lineHeight;
  const grid = ticks
    .filter((tick) => tick >= least && tick <= largest * 1.2)
    .map(
      (tick) =>
        `<line class="${tick === 1 ? 'one' : 'grid'}" x1="${x(tick)}" x2="${x(tick)}" y1="${top - 8}" y2="${bottom}"/>` +
        `<text class="tick" x="${x(tick)}" y="${bottom + 18}">${tick}x</text>`,
    );
  const rows = drawn.map(({ line, points }, index) => {
    const y = top + index * lineHeight + lineHeight / 2;
    const dots = points.map(
      ({ contestant: { title, color, radius }, factor }) =>
        `<circle cx="${x(factor)}" cy="${y}" r="${radius}" fill="${color}"><title>${title}: ${times(factor)}x</title></circle>`,
    );
    return `<text class="name" x="${left - 16}" y="${y + 4}">${line.title}</text>${dots.reverse().join('')}`;
  });
  const key = contestants.map(
    ({ title, color }, index) =>
      `<circle cx="${left + index * 110}" cy="24" r="5" fill="${color}"/><text x="${left + 12 + index * 110}" y="28">${title}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom + 50}" width="${width}" height="${bottom + 50}" role="img">
<title>How many times as fast as docker-registry</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #768390; }
.name { text-anchor: end; } .tick { text-anchor: middle; font-size: 11px; }
.grid { stroke: #8b949e; stroke-opacity: 0.3; } .one { stroke: #8b949e; stroke-width: 2; }
@media (prefers-color-scheme: dark) { text { fill: #adbac7; } }
</style>
${key.join('\n')}
<text class="tick" x="${(left + width - right) / 2}" y="${bottom + 38}">1x is docker-registry; further right is faster</text>
${grid.join('\n')}
${rows.join('\n')}
</svg>
`;
}

function pointOf({ part, cells, metric, isTime }: Line, name: string, figures: Figures) {
  const [ours] = figures.of(part, cells, metric, name);
  const [theirs] = figures.of(part, cells, metric, 'registry');
  const contestant = contestants.find((each) => each.name === name);
  if (ours === undefined || theirs === undefined || contestant === undefined) return [];
  return [{ contestant, factor: isTime ? theirs / ours : ours / theirs }];
}
