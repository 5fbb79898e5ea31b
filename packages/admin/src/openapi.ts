import type { Operation, Parameter } from './operation.ts';
import { problemSchema } from './problem.ts';
import type { Schema } from './schema.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * The OpenAPI 3.1 document of these operations.
 *
 * @param at the path that theirs are below, as the client reaches it: `/admin/v1`
 */
export function openApiDocument(operations: readonly Operation[], at: string): Json {
  const schemas: Record<string, unknown> = {};
  const shown = (schema: Schema) => inDocument(schema, schemas);
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const found = paths[operation.path] ?? {};
    paths[operation.path] = found;
    found[operation.method.toLowerCase()] = describe(operation, shown);
  }
  const problem = {
    description: 'What went wrong',
    content: { 'application/problem+json': { schema: shown(problemSchema) } },
  };
  return {
    openapi: '3.1.1',
    info: {
      title: 'proxycache operations API',
      version: '1',
      description:
        'What operators ask of a pull-through cache. Writes need `Content-Type: application/json`, those without a body too, and are refused to pages of other sites.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: at }],
    tags: [...new Set(operations.map(tagOf))].map((name) => ({ name })),
    paths,
    components: { schemas, responses: { Problem: problem } },
  };
}

/** The part of an id before its dot: `upstreams` of `upstreams.list`. */
const tagOf = ({ id }: Operation) => id.split('.', 1)[0] ?? id;

function describe(operation: Operation, shown: (schema: Schema) => unknown): Json {
  const { id, summary, parameters = [], body, answers } = operation;
  const responses: Record<string, unknown> = { default: { $ref: '#/components/responses/Problem' } };
  for (const [status, { description, schema, contentType }] of Object.entries(answers)) {
    const type = contentType ?? (schema && 'application/json');
    responses[status] = {
      description,
      ...(type !== undefined && { content: { [type]: schema ? { schema: shown(schema) } : {} } }),
    };
  }
  return {
    operationId: id,
    summary,
    tags: [tagOf(operation)],
    ...(parameters.length > 0 && { parameters: parameters.map((one) => parameterIn(one, shown)) }),
    ...(body && { requestBody: { required: true, content: { 'application/json': { schema: shown(body) } } } }),
    responses,
  };
}

function parameterIn(parameter: Parameter, shown: (schema: Schema) => unknown): Json {
  const { name, description, schema, required = false } = parameter;
  return { name, in: parameter.in, description, required, schema: shown(schema) };
}

/** A schema with those that have a title put among the components, and named in its place. */
function inDocument(schema: Schema, components: Record<string, unknown>): unknown {
  const { title, ...rest } = schema;
  const { properties, items, anyOf, additionalProperties } = rest;
  const written = {
    ...rest,
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, one]) => [name, inDocument(one, components)]),
      ),
    }),
    ...(items && { items: inDocument(items, components) }),
    ...(anyOf && { anyOf: anyOf.map((one) => inDocument(one, components)) }),
    ...(additionalProperties && { additionalProperties: inDocument(additionalProperties, components) }),
  };
  if (title === undefined) return written;
  components[title] ??= written;
  return { $ref: `#/components/schemas/${title}` };
}
