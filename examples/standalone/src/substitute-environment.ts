import { formatPath } from './config-problems.ts';

/** What substitution made of a value, and what was wrong with it. */
export interface Substituted {
  value: unknown;
  problems: readonly string[];
}

const reference = /\$(\$?)\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?/g;

/**
 * Puts environment variables into all texts of a parsed file: `${NAME}`, or `${NAME:-default}` for one that is unset or
 * empty; `$${` stands for `${` itself. Done after parsing, so that what a variable holds is never read as YAML.
 */
export function substituteEnvironment(
  input: unknown,
  environment: Readonly<Record<string, string | undefined>>,
): Substituted {
  const problems: string[] = [];

  const substituteText = (text: string, path: readonly PropertyKey[]) =>
    text.replace(reference, (whole, escaped: string, name: string | undefined, fallback: string | undefined) => {
      if (escaped !== '') return whole.slice(1);
      if (name === undefined) {
        problems.push(
          `${formatPath(path)}: expected \${NAME} or \${NAME:-default} after "$"; $\${ stands for \${ itself`,
        );
        return whole;
      }
      const value = environment[name];
      if (fallback !== undefined) return value === undefined || value === '' ? fallback : value;
      if (value !== undefined) return value;
      problems.push(
        `${formatPath(path)}: the environment has no ${name}; set it, or give a default: \${${name}:-default}`,
      );
      return whole;
    });

  const substitute = (value: unknown, path: readonly PropertyKey[]): unknown => {
    if (typeof value === 'string') return substituteText(value, path);
    if (Array.isArray(value)) return value.map((item, index) => substitute(item, [...path, index]));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, substitute(item, [...path, key])]));
  };

  return { value: substitute(input, []), problems };
}
