import { count, duration, flag, listOf, record, type Schema, text, word } from './schema.ts';

// The names and the types of an upstream's options; core checks their values, and says what is wrong with them.

const share: Schema = { type: 'number', minimum: 0, maximum: 1 };
const texts = listOf(text);
const secret: Schema = { type: 'string', writeOnly: true };
const freely = { optional: 'all' } as const;

/** How we authenticate at an upstream, as it is given: it is never told again. */
const authSchema: Schema = {
  title: 'UpstreamAuth',
  anyOf: [
    word('anonymous'),
    record({ username: text, password: secret }),
    record({ token: secret }),
    record(
      { reference: { ...text, description: 'What the host’s `secretOf` knows it by' } },
      { description: 'Only where the host allows its own secrets' },
    ),
    record({ usernameFile: text, passwordFile: text }, { description: 'Only where the host allows its own files' }),
    record({ helper: text }, { description: 'Only where the host allows its own programs' }),
    record(
      { exec: listOf(text, { minItems: 1 }), lifetime: duration },
      { description: 'Only where the host allows its own programs', optional: ['lifetime'] },
    ),
  ],
};

const tlsFields = { ca: { anyOf: [text, texts] }, cert: text, insecure: flag };

const place = {
  url: text,
  tokenHosts: texts,
  allowPrivate: texts,
  proxy: { ...text, writeOnly: true, description: 'Its user and password are never told' },
} as const;

const patterns = record({ repositories: texts, tags: texts }, freely);

/** Those that are shown as they were given. */
const plain: Readonly<Record<string, Schema>> = {
  hosts: texts,
  library: flag,
  include: patterns,
  exclude: patterns,
  credentials: word('own', 'caller'),
  mode: word('normal', 'offline', 'local-first'),
  freshFor: duration,
  staleIfErrorFor: duration,
  staleWhileRevalidateFor: duration,
  absentFor: duration,
  onAbsent: word('refuse', 'serve-stale'),
  onDenied: word('refuse', 'serve-stale'),
  deniedMayMeanAbsent: flag,
  linkValidFor: duration,
  serveUnproven: flag,
  coldRange: word('pass', 'verify'),
  prefetch: word('off', 'layers'),
  timeouts: record({ connect: duration, headers: duration, idle: duration }, freely),
  manifestWithin: duration,
  blobWithin: duration,
  resumeWithin: duration,
  validateWithin: duration,
  limits: record({ maxConnections: count, queueFor: duration, bytesPerSecond: count, maxBlobBytes: count }, freely),
  segments: { anyOf: [{ type: 'boolean', enum: [false] }, record({ connections: count, minSize: count }, freely)] },
  maxManifestBytes: count,
  maxBytes: count,
  rateLimit: record({ reserve: share }, freely),
  breaker: record({ failures: count, openFor: duration, maxOpenFor: duration }, freely),
  retry: record({ attempts: count, minWait: duration, maxWait: duration, budget: { type: 'number' } }, freely),
  ownVoice: texts,
};

const givenTls = record({ ...tlsFields, key: secret }, freely);
const ofEndpoint = { ...place, auth: authSchema, tls: givenTls };
const given = {
  ...ofEndpoint,
  ...plain,
  endpoints: listOf({ anyOf: [text, record(ofEndpoint, { optional: without(ofEndpoint, 'url') })] }),
};

/** An upstream as it is given. */
export const upstreamOptionsSchema: Schema = record(
  { key: text, ...given },
  { title: 'UpstreamOptions', optional: without(given, 'url') },
);

/** What is to change of one: `null` takes an option back to its default. */
export const upstreamChangeSchema: Schema = record(
  Object.fromEntries(Object.entries(given).map(([name, one]) => [name, { anyOf: [one, { type: 'null' }] }])),
  {
    title: 'UpstreamChange',
    description: 'What is not named stays; `null` takes an option back to its default',
    ...freely,
  },
);

const shownAuth = record(
  {
    kind: word('anonymous', 'basic', 'token', 'files', 'helper', 'exec', 'provider', 'reference'),
    username: text,
    reference: text,
  },
  { title: 'AuthSummary', optional: ['username', 'reference'] },
);
const shownTls = record({ ...tlsFields, hasKey: flag }, freely);
const shownEndpoint = { ...place, proxy: text, auth: shownAuth, tls: shownTls };

/** The fields of an upstream as it is told: no secret is among them. */
export const shownFields: Readonly<Record<string, Schema>> = {
  ...shownEndpoint,
  ...plain,
  endpoints: listOf(record(shownEndpoint, { optional: without(shownEndpoint, 'url', 'auth') })),
};

function without(fields: object, ...names: readonly string[]): string[] {
  return Object.keys(fields).filter((name) => !names.includes(name));
}
