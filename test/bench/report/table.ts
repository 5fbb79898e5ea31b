import { type Metric, metrics } from './metrics.ts';
import { distinct, type Sample, valuesOf } from './samples.ts';
import { ratio, spread } from './statistics.ts';

/** The table of one part: a row for each cell and contestant, its first metric also as ratios to the others. */
export interface TableShape {
  part: string;
  /** What the ratios are of, first. */
  metrics: readonly Metric[];
  /** Whom contestants are held against, where they take part. */
  against: readonly string[];
}

/** Writes a part's table as Markdown. */
export function tableOf(samples: readonly Sample[], { part, metrics: shown, against }: TableShape): string {
  const ofPart = samples.filter((sample) => sample.part === part);
  const present = distinct(ofPart.map(({ contestant }) => contestant));
  const [main = 'wall'] = shown;
  const others = against.filter((name) => present.includes(name));
  const there = shown.filter((metric) => ofPart.some(({ values }) => values[metric] !== undefined));
  const [, ...further] = there;
  const head = ['', 'server', metrics[main].title, ...others.map((name) => `x ${name}`)];
  const rows = distinct(ofPart.map(({ cell }) => cell)).flatMap((cell) =>
    distinct(ofPart.filter((sample) => sample.cell === cell).map(({ contestant }) => contestant)).map(
      (contestant, index) => {
        const values = (metric: Metric, of = contestant) => valuesOf(ofPart, { part, cell, contestant: of, metric });
        return [
          index === 0 ? cell : '',
          contestant,
          written(values(main), main),
          ...others.map((other) => (other === contestant ? '' : times(ratio(values(main), values(main, other))))),
          ...further.map((metric) => written(values(metric), metric)),
        ];
      },
    ),
  );
  return markdownTable([...head, ...further.map((metric) => metrics[metric].title)], rows);
}

/** A factor, to three digits at most. */
export function times(factor: number | undefined): string {
  if (factor === undefined) return '';
  if (factor < 0.1) return factor.toPrecision(2);
  return factor >= 100 ? factor.toFixed(0) : factor >= 10 ? factor.toFixed(1) : factor.toFixed(2);
}

/** Median and ends, `12.3 (11.9-14.0)`; alone when there is one value. */
function written(values: readonly number[], metric: Metric): string {
  if (values.length === 0) return '';
  const { median, min, max } = spread(values);
  const text = (value: number) => value.toFixed(metrics[metric].digits);
  return text(min) === text(max) ? text(median) : `${text(median)} (${text(min)}-${text(max)})`;
}

/** A table in Markdown whose columns are aligned, so that it reads well as text too. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
