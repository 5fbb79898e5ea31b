import { ProxyCacheError } from '@proxycache/core';
import { checkValue } from './check-value.ts';
import type { Call, Operation } from './operation.ts';
import type { Schema } from './schema.ts';

/**
 * The query of a call, each value of its type.
 *
 * @throws ProxyCacheError `invalid-options` for a name that is none or is given twice, and a value that is none
 */
export function parseQuery(operation: Operation, query: string): Call['query'] {
  const parameters = (operation.parameters ?? []).filter((one) => one.in === 'query');
  const values: Record<string, string | number | boolean> = {};
  for (const [name, given] of new URLSearchParams(query)) {
    const parameter = parameters.find((one) => one.name === name);
    if (!parameter) throw noParameter(name, parameters);
    // Of two, this reader would take the first and another the last.
    if (Object.hasOwn(values, name)) throw new ProxyCacheError('invalid-options', `${name}: it is given twice`);
    const value = typed(parameter.schema, given);
    checkValue(parameter.schema, value, name);
    values[name] = value;
  }
  const missing = parameters.find((one) => one.required && !Object.hasOwn(values, one.name));
  if (missing) throw new ProxyCacheError('invalid-options', `${missing.name}: expected in the query`);
  return values;
}

function typed({ type }: Schema, given: string): string | number | boolean {
  if (type === 'integer' && /^\d{1,15}$/.test(given)) return Number(given);
  if (type === 'boolean' && (given === 'true' || given === 'false')) return given === 'true';
  return given;
}

function noParameter(name: string, known: readonly { name: string }[]): ProxyCacheError {
  const instead = known.length > 0 ? `; there are ${known.map((one) => one.name).join(', ')}` : '';
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
  return new ProxyCacheError('invalid-options', `query: there is no parameter ${shown}${instead}`);
}
