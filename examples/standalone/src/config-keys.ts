import { z } from 'zod';

/** One key of the configuration, as docs/configuration.md and messages about unknown keys need it. */
export interface ConfigKey {
  /** `listen.port`, `upstreams[].key`. */
  path: string;
  type: string;
  default: string;
  description: string;
}

interface Found {
  schema: z.core.$ZodType;
  fallback: unknown;
}

/** The schema below what says that a key may be left out, and the default found on the way. */
function unwrap(schema: z.core.$ZodType): Found {
  let fallback: unknown;
  let inner = schema;
  for (;;) {
    const { def } = inner._zod;
    if (def.type === 'prefault') fallback = (def as z.core.$ZodPrefaultDef).defaultValue;
    if (!('innerType' in def)) return { schema: inner, fallback };
    inner = def.innerType as z.core.$ZodType;
  }
}

/** What holds keys of its own: a mapping, the items of a list, or one side of a union. */
function nested(schema: z.core.$ZodType): { shape: z.core.$ZodShape; suffix: string } | undefined {
  const { def } = unwrap(schema).schema._zod;
  if (def.type === 'object') return { shape: (def as z.core.$ZodObjectDef).shape, suffix: '' };
  if (def.type === 'array') {
    const item = nested((def as z.core.$ZodArrayDef).element);
    return item && { ...item, suffix: `[]${item.suffix}` };
  }
  if (def.type !== 'union') return undefined;
  for (const option of (def as z.core.$ZodUnionDef).options) {
    const found = nested(option);
    if (found) return found;
  }
  return undefined;
}

function entry(path: string, field: z.core.$ZodType): ConfigKey | undefined {
  const { schema, fallback } = unwrap(field);
  const { type, description, fallback: described } = z.globalRegistry.get(schema) ?? {};
  if (typeof type !== 'string' || !description) return undefined;
  const value = fallback ?? described ?? 'required';
  return { path, type, default: value === 'required' ? value : format(value), description };
}

/** A default: as code where it is a value, else as the words it is. */
function format(fallback: unknown): string {
  const text = typeof fallback === 'string' ? fallback : JSON.stringify(fallback);
  return /^-$|[ ,`]/.test(text) ? text : `\`${text}\``;
}

/** All keys, in the order of the schema. */
export function listConfigKeys(schema: z.core.$ZodType, path = ''): readonly ConfigKey[] {
  const inside = nested(schema);
  if (!inside) return [];
  return Object.entries(inside.shape).flatMap(([name, field]) => {
    const below = path === '' ? name : `${path}.${name}`;
    const own = entry(below, field);
    return [...(own ? [own] : []), ...listConfigKeys(field, `${below}${nested(field)?.suffix ?? ''}`)];
  });
}

/** The table of docs/configuration.md, its columns as wide as their widest cell. */
export function configTable(schema: z.core.$ZodType): string {
  const keys = listConfigKeys(schema).map((key) => [`\`${key.path}\``, key.type, key.default, key.description]);
  const rows = [['Key', 'Value', 'Default', 'Meaning'], ...keys];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const [head, ...body] = rows.map(
    (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  );
  return [head, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body].join('\n');
}
