import { describe, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { parseManifest } from '../oci/manifest.ts';
import { allOf } from './all-of.ts';
import type { AdmissionContext, AdmissionDecision, Admit } from './hook.ts';
import { maxSize } from './max-size.ts';
import { minimumAge } from './minimum-age.ts';
import { platforms } from './platforms.ts';
import { requireSignature } from './require-signature.ts';

const hour = 3_600_000;
const now = 1_000 * hour;
const imageConfig = 'application/vnd.oci.image.config.v1+json';

/** A manifest as a policy sees it. */
function context(body: object, more: Partial<AdmissionContext> = {}, config?: unknown): AdmissionContext {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...body }));
  const manifest = parseManifest(bytes);
  return {
    upstream: 'hub',
    repository: 'team/app',
    descriptor: { mediaType: '', digest: digestOf(bytes), size: bytes.byteLength },
    manifest,
    annotations: manifest.annotations ?? {},
    parents: [],
    firstSeenAt: now,
    now,
    config: async () => (config === undefined ? undefined : Buffer.from(JSON.stringify(config))),
    ...more,
  } as AdmissionContext;
}

const blob = (size: number, mediaType = 'application/octet-stream') => ({
  mediaType,
  size,
  digest: digestOf(Buffer.from(String(size))),
});
const image = (config?: unknown, more: Partial<AdmissionContext> = {}) =>
  context({ config: blob(2, imageConfig), layers: [blob(10)] }, more, config);
const index = (...listed: (string | undefined)[]) =>
  context({
    manifests: listed.map((text, at) => {
      const [os, architecture, variant] = text?.split('/') ?? [];
      const platform = text === undefined ? {} : { platform: { os, architecture, variant } };
      return { ...blob(at + 1, 'application/vnd.oci.image.manifest.v1+json'), ...platform };
    }),
  });

describe('minimumAge', () => {
  it.each([
    [{}, { holdUntil: now + hour }],
    [{ firstSeenAt: now - hour + 1 }, { holdUntil: now + 1 }],
    [{ firstSeenAt: now - hour }, { allow: true }],
    // A clock that stepped back.
    [{ firstSeenAt: now + hour }, { holdUntil: now + 2 * hour }],
  ])('of an hour, %j: %j', async (more, decision) => {
    expect(await minimumAge('1h')(image(undefined, more))).toMatchObject(decision);
  });

  it('tells what it counts from', async () => {
    expect(await minimumAge(500)(image(undefined, { firstSeenAt: 0, now: 1 }))).toEqual({
      holdUntil: 500,
      reason: 'it has to be 500ms old, and it was first seen here 1970-01-01T00:00:00Z',
    });
  });

  it('believes what an image says of itself only where that is asked for', async () => {
    const old = { created: new Date(now - 2 * hour).toISOString() };
    expect(await minimumAge('1h')(image(old))).toMatchObject({ holdUntil: now + hour });
    const created = minimumAge('1h', { since: 'created' });
    expect(await created(image(old))).toEqual({ allow: true });
    const young = { created: new Date(now - hour / 2).toISOString() };
    expect(await created(image(young, { firstSeenAt: 0 }))).toMatchObject({
      holdUntil: now + hour / 2,
      reason: expect.stringContaining('it says that it was created'),
    });
    expect(await created(index('linux/amd64'))).toEqual({ allow: true });
    for (const config of [{}, { created: 'yesterday' }, { created: 5 }, 'text']) {
      expect(await created(image(config))).toMatchObject({ holdUntil: now + hour });
    }
    const annotated = { annotations: { 'org.opencontainers.image.created': '1970-01-02T00:00:00Z' } };
    expect(await created(image(young, annotated))).toEqual({ allow: true });
  });

  it.each([[undefined], [0], ['week'], [Number.POSITIVE_INFINITY]])('of %j is refused at start', (age) => {
    expect(() => minimumAge(age as never)).toThrow(/^minimumAge: expected a duration/);
  });
});

describe('platforms', () => {
  const some = platforms(['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7']);

  it.each([
    [{ os: 'linux', architecture: 'amd64' }, true],
    [{ os: 'linux', architecture: 'amd64', variant: 'v2' }, true],
    [{ os: 'linux', architecture: 'arm64' }, true],
    [{ os: 'linux', architecture: 'arm64', variant: 'v9' }, false],
    [{ os: 'linux', architecture: 'arm', variant: 'v6' }, false],
    [{ os: 'windows', architecture: 'amd64' }, false],
    [{ os: 'unknown', architecture: 'unknown' }, true],
    [{}, false],
    ['text', false],
    [undefined, false],
  ])('an image whose config says %j: %j', async (config, passes) => {
    expect('allow' in (await some(image(config)))).toBe(passes);
  });

  it.each([
    [['windows/amd64', 'linux/amd64'], true],
    [['windows/amd64', 'linux/arm/v6', 'unknown/unknown'], false],
    [['windows/amd64', undefined], true],
    [[], true],
  ])('an index of %j: %j', async (listed, passes) => {
    expect('allow' in (await some(index(...listed)))).toBe(passes);
  });

  it('tells what an image is for', async () => {
    expect(await some(image({ os: 'windows', architecture: 'amd64' }))).toEqual({
      deny: true,
      reason: 'it runs on windows/amd64, and not on linux/amd64, linux/arm64/v8, linux/arm/v7',
    });
    expect(await platforms(['linux/amd64'])(index('plan9/386', 'unknown/unknown'))).toEqual({
      deny: true,
      reason: 'it has images for plan9/386 only, not for linux/amd64',
    });
  });

  it('lets pass what is no image', async () => {
    const chart = context({ config: blob(2, 'application/vnd.cncf.helm.config.v1+json'), layers: [] }, {}, {});
    expect(await some(chart)).toEqual({ allow: true });
    expect(await some(context({ layers: [] }))).toEqual({ allow: true });
  });

  it.each([[undefined], [[]], [['linux']], [['linux/']]])('of %j are refused at start', (list) => {
    expect(() => platforms(list as never)).toThrow(/^platforms/);
  });
});

describe('maxSize', () => {
  it('counts config and layers as the manifest tells them, and leaves an index to its images', async () => {
    expect(await maxSize(12)(image())).toEqual({ allow: true });
    expect(await maxSize(11)(image())).toEqual({ deny: true, reason: 'it has 12 bytes, more than 11' });
    expect(await maxSize(1)(index('linux/amd64', 'linux/arm64'))).toEqual({ allow: true });
    expect(() => maxSize(undefined as never)).toThrow('maxSize: expected a number of bytes');
    expect(() => maxSize(0)).toThrow('maxSize: expected a whole number from 1');
  });
});

describe('requireSignature', () => {
  it('refuses to start without a way to verify', () => {
    expect(() => requireSignature({} as never)).toThrow('requireSignature: verify: expected a function that verifies');
    expect(() => requireSignature({ verify: true } as never)).toThrow('requireSignature: verify: expected a function');
  });

  it.each([
    [true, { allow: true }],
    [false, { deny: true, reason: 'no signature of it counts here' }],
    [{ reason: 'it is of mallory' }, { deny: true, reason: 'no signature of it counts here: it is of mallory' }],
    [undefined, { deny: true, reason: 'no signature of it counts here' }],
    ['yes', { deny: true, reason: 'no signature of it counts here' }],
  ])('where verify says %j: %j', async (said, decision) => {
    expect(await requireSignature({ verify: async () => said as boolean })(image())).toEqual(decision);
  });

  it('hands over what is to be verified, and takes an index that passed for its images', async () => {
    const seen: unknown[] = [];
    const signed = requireSignature({
      verify(content) {
        seen.push(content.digest, content.upstream, content.repository, typeof content.referrers);
        return false;
      },
    });
    const root = image(undefined, { referrers: async () => [] });
    expect(await signed(root)).toMatchObject({ deny: true });
    expect(seen).toEqual([root.descriptor.digest, 'hub', 'team/app', 'function']);
    expect(await signed(image(undefined, { parents: [root.descriptor.digest] }))).toEqual({ allow: true });
    expect(seen).toHaveLength(4);
  });
});

describe('allOf', () => {
  const gives =
    (decision: AdmissionDecision): Admit =>
    () =>
      decision;
  const allow = gives({ allow: true });
  const deny = gives({ deny: true, reason: 'no' });

  it.each([
    [[allow, allow], { allow: true }],
    [[gives({ allow: true, until: 9 }), allow, gives({ allow: true, until: 5 })], { allow: true, until: 5 }],
    [[allow, deny], { deny: true, reason: 'no' }],
    [[gives({ holdUntil: 5 }), deny], { deny: true, reason: 'no' }],
    [[gives({ holdUntil: 5 }), gives({ holdUntil: 9, reason: 'later' }), allow], { holdUntil: 9, reason: 'later' }],
    [[gives({ holdUntil: 9 }), gives({ holdUntil: 5 })], { holdUntil: 9 }],
  ])('%# gives %j', async (policies, decision) => {
    expect(await allOf(...policies)(image())).toEqual(decision);
  });

  it.each([
    [{ allow: true, deny: undefined, holdUntil: undefined, until: undefined, reason: undefined }, { holdUntil: 5 }],
    [{ allow: true, deny: false, holdUntil: false }, { holdUntil: 5 }],
    [
      { allow: false, deny: true, reason: 'no', holdUntil: undefined },
      { deny: true, reason: 'no' },
    ],
    [{ allow: undefined, holdUntil: 9 }, { holdUntil: 9 }],
  ])('let nothing pass that another one held, where a policy gave every field: %j', async (given, expected) => {
    const every = gives(given as never);
    expect(await allOf(every, gives({ holdUntil: 5 }))(image())).toMatchObject(expected);
    expect(await allOf(gives({ holdUntil: 5 }), every)(image())).toMatchObject(expected);
  });

  it.each([
    { allow: false },
    { allow: true, deny: true, reason: 'no' },
    { allow: true, holdUntil: null },
    { holdUntil: Number.NaN },
    { allow: true, until: Number.NaN },
    {},
  ])('fails where a policy gives what is no decision: %j', async (given) => {
    const none = gives(given as never);
    for (const policies of [
      [none, allow],
      [allow, none],
      [gives({ holdUntil: 5 }), none],
    ]) {
      await expect(allOf(...policies)(image())).rejects.toThrow('expected');
    }
  });

  it('asks no further once one has denied, and fails where one does', async () => {
    const failing: Admit = () => Promise.reject(new Error('away'));
    expect(await allOf(deny, failing)(image())).toMatchObject({ deny: true });
    await expect(allOf(allow, failing)(image())).rejects.toThrow('away');
    await expect(allOf(gives(undefined as never))(image())).rejects.toThrow();
  });

  it('needs policies', () => {
    expect(() => allOf()).toThrow('allOf: expected at least one policy');
    expect(() => allOf(allow, 5 as never)).toThrow('allOf[1]: expected a function');
  });
});
