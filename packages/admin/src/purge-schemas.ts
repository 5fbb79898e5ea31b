import { count, record, type Schema } from './schema.ts';

// As long as a name may be, so that no job keeps more.
const name: Schema = { type: 'string', minLength: 1, maxLength: 255 };

/** What is to be purged. */
export const purgeSchema: Schema = {
  title: 'Purge',
  anyOf: [
    record({
      reference: {
        type: 'string',
        minLength: 1,
        maxLength: 512,
        description: 'With the key of its upstream; a tag, or a digest with the tags that stand for it',
      },
    }),
    record(
      {
        upstream: name,
        repository: { ...name, description: 'As the upstream names it; without one all of the upstream' },
      },
      { optional: ['repository'] },
    ),
  ],
};

/** What a purge removed, so far or in all. */
export const purgeReportSchema: Schema = record(
  {
    repositories: { ...count, description: 'Repositories that were looked at' },
    tags: count,
    manifests: count,
    blobs: count,
    files: { ...count, description: 'What left the store' },
    bytes: count,
    shared: { ...count, description: 'Whose bytes stay, as another repository has them' },
    left: { ...count, description: 'What stays, as it is being written anew or the store does not let it go' },
    durationMs: { type: 'number' },
  },
  { title: 'PurgeReport' },
);
