import {
  about,
  choice,
  duration,
  flag,
  hostAndPort,
  integer,
  list,
  mapping,
  optional,
  redisUrl,
  registryUrl,
  size,
  text,
} from './config-values.ts';

const pem = () => text('file or PEM text');
const nodes = () => list(hostAndPort());

const redisTls = mapping({
  ca: optional(pem(), "Authority to trust in place of the machine's own"),
  cert: optional(pem(), 'Our certificate, with `key`'),
  key: optional(pem(), "Our certificate's key"),
  servername: optional(text('host'), "Whose certificate is expected, where that is not the server's host"),
  insecure: optional(flag(), 'Accept any certificate', 'false'),
}).refine((keys) => 'cert' in keys === 'key' in keys, 'expected both cert and key, or neither');

const sentinel = mapping({
  name: about(text(), 'Name of the primary'),
  nodes: about(nodes(), 'Sentinels'),
  username: optional(text(), 'User at the sentinels'),
  password: optional(text(), 'Its password'),
});

const redis = mapping({
  url: optional(redisUrl(), 'One server: `redis://[user][:password]@host[:port][/database]`, `rediss:` for TLS'),
  sentinel: optional(sentinel, ''),
  cluster: optional(mapping({ nodes: about(nodes(), 'Some servers of a cluster') }), ''),
  username: optional(text(), 'User at the servers of `sentinel` and `cluster`'),
  password: optional(text(), 'Its password'),
  database: optional(integer(0, 1_000_000), 'With `sentinel`', '0'),
  tls: optional(redisTls, ''),
  prefix: optional(text(), 'First part of every key; caches of one prefix share what they know', '`proxycache`'),
  answerWithin: optional(
    duration(),
    'How long it may take to answer; then, and after 3 s at the latest, pulls go on without it',
    '1s',
  ),
}).refine((keys) => [keys.url, keys.sentinel, keys.cluster].filter((one) => one !== undefined).length === 1, {
  error: 'expected one of url, sentinel and cluster',
});

const s3 = mapping({
  bucket: about(text(), 'It must be there'),
  prefix: optional(
    text(),
    'What every key begins with, ends in `/`; caches of one prefix share blobs',
    '`proxycache/`',
  ),
  region: optional(text(), 'Its region', "the SDK's; `us-east-1` with `endpoint`"),
  endpoint: optional(registryUrl(), 'Where it is, if not at AWS'),
  forcePathStyle: optional(flag(), 'Whether the bucket stands in the path, not in the host', 'false'),
  accessKeyId: optional(text(), 'Credential, with `secretAccessKey`', 'found as the SDK finds it'),
  secretAccessKey: optional(text(), 'Its secret'),
  sessionToken: optional(text(), 'Of a temporary credential'),
  checksums: optional(
    choice('supported', 'required'),
    '`required`: none but where the API asks for one, for servers that know no others',
    'supported',
  ),
  storageClass: optional(text(), 'Of each object', "the bucket's"),
  redirectReads: optional(
    flag(),
    'Send clients there for large blobs, by signed URLs: all of them must reach it',
    'false',
  ),
  answerWithin: optional(
    duration(),
    'How long it may take to answer; then, and after 3 s at the latest, pulls go on without it',
    '2s',
  ),
  idleWithin: optional(duration(), 'How long an upload may stand still', '15s'),
  partSize: optional(size(5 * 2 ** 20), 'Larger blobs go up in parts of this size', '16MiB'),
  parallelParts: optional(integer(1, 32), 'Parts of one blob at a time', '4'),
}).refine((keys) => 'accessKeyId' in keys === 'secretAccessKey' in keys, {
  error: 'expected both accessKeyId and secretAccessKey, or neither',
});

const local = mapping({
  directory: about(
    text('folder'),
    'Where blobs that are used stay on this machine, too, so that they are not read from S3 again',
  ),
  maxBytes: optional(size(1), 'Over it those go whose last use is the longest ago', 'unlimited'),
});

/** The key `storage`: a folder, and what is kept elsewhere. */
export const storageSchema = mapping({
  directory: about(text('folder'), 'Where content stays; made when it is missing, for its user alone (0700)').prefault(
    './proxycache-data',
  ),
  spool: optional(text('folder'), 'Where transfers under way stay', '`spool` in `directory`'),
  minFree: optional(
    size(),
    'Kept free on its disk, and on that of `spool`; below it pulls pass through',
    '5 % of the disk, at most 1 GiB',
  ),
  maxWaitingBytes: optional(
    size(),
    'Verified blobs that may wait on its disk for a store that does not take them',
    'half of what is free',
  ),
  durable: optional(flag(), 'What was stored survives a loss of power, for a flush per write', 'false'),
  verifyOnRead: optional(
    choice('never', 'first'),
    '`first`: hash a stored blob before its first read after start',
    'never',
  ),
  metadata: optional(mapping({ redis }), ''),
  blobs: optional(mapping({ s3 }), ''),
  local: optional(local, ''),
})
  .refine(({ blobs, local }) => local === undefined || blobs !== undefined, {
    path: ['local'],
    error: 'expected `blobs` elsewhere, which it is in front of',
  })
  .prefault({});
