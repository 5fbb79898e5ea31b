import { ProxyCacheError } from '@proxycache/core';
import type { Operation } from './operation.ts';

/** What a path means: the operations on it by their method, and its parts, percent-encoding untouched. */
export interface Route {
  operations: ReadonlyMap<string, Operation>;
  path: Readonly<Record<string, string>>;
}

interface Template {
  segments: readonly string[];
  operations: Map<string, Operation>;
}

/** Finds the operations of a path. */
export function createRoutes(operations: readonly Operation[]): (path: string) => Route | undefined {
  const templates = new Map<string, Template>();
  for (const operation of operations) {
    const found = templates.get(operation.path) ?? { segments: operation.path.split('/'), operations: new Map() };
    templates.set(operation.path, found);
    found.operations.set(operation.method, operation);
  }
  return (path) => {
    // Taken apart before it is decoded: `%2F` is a letter of a segment and divides nothing.
    const segments = path.split('/');
    for (const template of templates.values()) {
      const parts = partsOf(template.segments, segments);
      if (parts) return { operations: template.operations, path: parts };
    }
    return undefined;
  };
}

function partsOf(template: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (template.length !== segments.length) return undefined;
  const parts: Record<string, string> = {};
  for (const [index, wanted] of template.entries()) {
    const given = segments[index] ?? '';
    if (!wanted.startsWith('{')) {
      if (wanted !== given) return undefined;
    } else if (given === '') return undefined;
    else parts[wanted.slice(1, -1)] = given;
  }
  return parts;
}

/** @throws ProxyCacheError `name-invalid` for percent-encoding that says nothing */
export function decodedParts(parts: Route['path']): Route['path'] {
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, decoded(part)]));
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new ProxyCacheError('name-invalid', 'the path has percent-encoding that is none');
  }
}
