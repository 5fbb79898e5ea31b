import { z } from 'zod';
import {
  about,
  choice,
  duration,
  durationOrUnlimited,
  flag,
  host,
  integer,
  list,
  mapping,
  optional,
  proxyUrl,
  registryUrl,
  share,
  size,
  text,
  value,
} from './config-values.ts';
import { needsUrl, presetNames } from './presets.ts';

const file = () => text('file');
const pem = () => text('file or PEM text');

const anonymous = value('`anonymous`', '"anonymous", or keys such as username and password', (input) =>
  input === 'anonymous' ? input : undefined,
);

const authForms = [
  'username,password',
  'token',
  'usernameFile,passwordFile',
  'helper',
  'exec',
  'exec,lifetime',
  'reference',
];

const authKeys = mapping({
  username: optional(text(), 'User, with `password`'),
  password: optional(text(), 'Its password or access token'),
  token: optional(text(), 'A bearer token that is sent as it is'),
  usernameFile: optional(file(), 'File with the user, with `passwordFile`; both are read again when they change'),
  passwordFile: optional(file(), 'File with the password'),
  helper: optional(text(), 'Docker credential helper: `docker-credential-NAME get` is asked'),
  exec: optional(
    list(text()).refine((words) => words.length > 0, 'expected a program and its arguments'),
    'Program and arguments; it prints `{"username","password"}` or `{"token"}` as JSON',
  ),
  reference: optional(text(), 'Name of a secret: see `persistUpstreams.secretsFolder`'),
  lifetime: optional(duration(), 'With `exec`: how long its answer holds', '12h'),
}).refine((auth) => authForms.includes(Object.keys(auth).sort(byPlace).join(',')), {
  error: `expected the keys of one of ${authForms.map((form) => `{${form}}`).join(', ')}`,
});

const places = [
  'username',
  'password',
  'usernameFile',
  'passwordFile',
  'token',
  'helper',
  'reference',
  'exec',
  'lifetime',
];
const byPlace = (one: string, other: string) => places.indexOf(one) - places.indexOf(other);

const timeouts = mapping({
  connect: optional(duration(), 'Connecting, with TLS', '5s'),
  headers: optional(duration(), "Waiting for an answer's headers", '30s'),
  idle: optional(duration(), 'Waiting for the next byte of a body', '30s'),
});

const tls = mapping({
  ca: optional(
    z.union([pem(), list(pem())]).meta({ type: 'file or PEM text, or a list of them' }),
    "Authorities to trust beside the machine's own",
  ),
  cert: optional(pem(), 'Our certificate, with `key`'),
  key: optional(pem(), "Our certificate's key"),
  insecure: optional(flag(), 'Accept any certificate', 'false'),
}).refine((keys) => 'cert' in keys === 'key' in keys, 'expected both cert and key, or neither');

const auth = () => z.union([anonymous, authKeys]).meta({ type: '`anonymous` or the keys below' });
const privatePlaces = () => list(text('host, address or CIDR block'));

const endpointKeys = mapping({
  url: about(registryUrl(), 'Its base URL'),
  auth: optional(auth(), 'How we authenticate there; no other credential is sent to it', 'anonymous'),
  tokenHosts: optional(list(host()), 'Token services on other hosts that may get its credential'),
  allowPrivate: optional(privatePlaces(), 'Private places its redirects and realms may lead to', "the upstream's"),
  tls: optional(tls, ''),
  proxy: optional(proxyUrl(), 'HTTP(S) proxy to reach it through'),
});

const retry = mapping({
  attempts: optional(integer(1, 100), 'How often a request is sent at most', '3'),
  minWait: optional(duration(), 'Longest wait before the first retry; then it doubles', '100ms'),
  maxWait: optional(duration(), 'Longest wait before any other', '5s'),
  budget: optional(share(), 'Retries beside the first for each request, over all of them; beside one a second', '0.2'),
});

const limits = mapping({
  maxConnections: optional(
    integer(1, 10_000),
    'Connections to one host at most, three quarters of them for blobs',
    '32',
  ),
  queueFor: optional(duration(), 'Waiting for a free one; then 503', '60s'),
  bytesPerSecond: optional(size(1024), 'Bytes that come from it in a second, over all its connections', 'no limit'),
  maxBlobBytes: optional(size(1), 'The largest blob that is asked for; a larger one is refused', 'no limit'),
});

const rateLimit = mapping({
  reserve: optional(share(), 'Share of its rate limit that is kept for images that are not stored', '0.1'),
});

const breaker = mapping({
  failures: optional(integer(1, 1_000_000), 'Failures in a row that have a host of it left alone for a while', '3'),
  openFor: optional(duration(), 'For how long; twice as long each time it is tried and fails again', '2s'),
  maxOpenFor: optional(duration(), 'For how long at most', '60s'),
});

const noSegments = value('`false`', 'false, or keys such as connections', (input) =>
  input === false || input === 'false' ? false : undefined,
);

const segmentKeys = mapping({
  connections: optional(integer(2, 1_000), 'Connections of one blob at most', '8'),
  minSize: optional(size(1024 * 1024), 'Bytes that a blob has at least to be asked for in parts', '128MiB'),
});

const pattern = () => text('pattern');

/** @param are what those that match a pattern are */
const names = (are: string) =>
  mapping({
    repositories: optional(list(pattern()), `Repositories that are ${are}: \`library/*\`, \`team/**\``),
    tags: optional(list(pattern()), `Tags that are ${are}`),
  });

/** One of `upstreams[]`. Its keys are those of core's `UpstreamOptions`, and `source`. */
export const upstreamSchema = mapping({
  key: optional(text(), 'Its name in paths; needed without `source`', "the source's"),
  source: optional(choice(...presetNames), 'Preset: a well-known registry or product'),
  url: optional(registryUrl(), 'Base URL; needed where `source` does not know it', "the source's"),
  endpoints: optional(
    list(z.union([registryUrl(), endpointKeys])).meta({ type: 'list of URLs, or of the keys below' }),
    'Further base URLs of the same content, asked in this order while `url` fails; a plain URL anonymously',
  ),
  hosts: optional(list(host()), 'Source hosts it answers for: `?ns=`, the Host header', "the source's"),
  library: optional(flag(), 'One-component names mean `library/NAME`', "the source's, false"),
  include: optional(names('served; nothing else is'), ''),
  exclude: optional(names('not served, whatever `include` says'), ''),
  credentials: optional(
    choice('own', 'caller'),
    '`caller`: asked with the user and password that each request brings, in place of `auth`',
    'own',
  ),
  auth: optional(auth(), 'How we authenticate there', 'anonymous'),
  tokenHosts: optional(list(host()), 'Token services on other hosts that may get its credential', "the source's"),
  allowPrivate: optional(privatePlaces(), 'Private places redirects and realms may lead to'),
  mode: optional(
    choice('normal', 'offline', 'local-first'),
    '`offline`: it gets no request, a miss is 504; `local-first`: what is stored is served without asking',
    'normal',
  ),
  freshFor: optional(durationOrUnlimited(), 'How long a tag is served without asking', '0'),
  staleIfErrorFor: optional(durationOrUnlimited(), 'How long a stored image is served when it fails', 'unlimited'),
  staleWhileRevalidateFor: optional(durationOrUnlimited(), 'How long a stale image is served at once', '0'),
  absentFor: optional(duration(), 'How long "absent" is remembered', '0'),
  onAbsent: optional(choice('refuse', 'serve-stale'), 'A stored tag that it says is gone', 'refuse'),
  onDenied: optional(choice('refuse', 'serve-stale'), 'A stored tag that it denies', 'refuse'),
  deniedMayMeanAbsent: optional(flag(), 'It says "denied" for repositories that do not exist', "the source's, false"),
  linkValidFor: optional(
    durationOrUnlimited(),
    "How long a repository's proof of content holds; 1h with `credentials: caller`",
    'unlimited',
  ),
  serveUnproven: optional(flag(), 'Content whose proof has expired is served while it fails', 'false'),
  coldRange: optional(choice('pass', 'verify'), 'A range of a blob that is not stored', 'pass'),
  prefetch: optional(
    choice('off', 'layers'),
    "`layers`: fetch an image's config and layers ahead, once its manifest was asked for",
    'off',
  ),
  timeouts: optional(timeouts, ''),
  manifestWithin: optional(duration(), "To a manifest's last byte, with nothing stored", '10s'),
  blobWithin: optional(duration(), "To a blob's first byte, with nothing stored", '60s'),
  resumeWithin: optional(duration(), 'How long a broken transfer may bring nothing new', '2m'),
  validateWithin: optional(duration(), 'To the answer of a validation, with a copy stored', '2s'),
  limits: optional(limits, ''),
  segments: optional(
    z.union([noSegments, segmentKeys]).meta({ type: '`false` or the keys below' }),
    'Whether a large blob is brought by several connections, where they are faster than one',
    'false',
  ),
  maxManifestBytes: optional(size(1), 'The longest manifest taken', '4MiB'),
  maxBytes: optional(size(1), 'Of what is stored of it; as `retention.maxBytes`', 'no limit of its own'),
  rateLimit: optional(rateLimit, ''),
  breaker: optional(breaker, ''),
  retry: optional(retry, ''),
  tls: optional(tls, ''),
  proxy: optional(proxyUrl(), 'HTTP(S) proxy to reach it through; the environment is not read'),
  ownVoice: optional(list(text()), 'Text that marks an error body as its own', "the source's"),
})
  .refine((upstream) => upstream.source !== undefined || (upstream.url !== undefined && upstream.key !== undefined), {
    error: 'expected a `source`, or a `key` and a `url`',
  })
  .refine(({ source, url }) => source === undefined || !needsUrl(source) || url !== undefined, {
    path: ['url'],
    error: 'expected its URL, which this `source` does not know',
  });

export type UpstreamConfig = z.output<typeof upstreamSchema>;
