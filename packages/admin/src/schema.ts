/**
 * A JSON Schema (2020-12), as far as the API says things by it: bodies and parameters are checked by the same value that the
 * OpenAPI document shows. One with a `title` stands under that name among the document's components.
 */
export interface Schema {
  readonly title?: string;
  readonly description?: string;
  readonly type?: JsonType | readonly JsonType[];
  readonly enum?: readonly (string | number | boolean)[];
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** Default, as everywhere: anything. What requests bring says `false`, or what else there may be. */
  readonly additionalProperties?: false | Schema;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly format?: string;
  readonly writeOnly?: true;
  readonly default?: string | number | boolean;
}

/** The types of JSON, and `integer`. */
export type JsonType = 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean' | 'null';

/** An object that has these and nothing else. */
export function record(
  properties: Readonly<Record<string, Schema>>,
  more: Pick<Schema, 'title' | 'description' | 'writeOnly'> & { optional?: readonly string[] | 'all' } = {},
): Schema {
  const { optional = [], ...rest } = more;
  const required = optional === 'all' ? [] : Object.keys(properties).filter((name) => !optional.includes(name));
  return {
    ...rest,
    type: 'object',
    properties,
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  };
}

/** A list of such. */
export function listOf(items: Schema, more: Pick<Schema, 'description' | 'minItems' | 'maxItems'> = {}): Schema {
  return { ...more, type: 'array', items };
}

export const text: Schema = { type: 'string' };
export const count: Schema = { type: 'integer', minimum: 0 };
export const flag: Schema = { type: 'boolean' };
export const instant: Schema = { type: 'number', description: 'Milliseconds since the epoch' };

export const duration: Schema = {
  type: ['number', 'string'],
  description: 'Milliseconds, or text such as `30s`, or `unlimited`',
};

/** One of these words. */
export function word(...words: readonly string[]): Schema {
  return { type: 'string', enum: words };
}
