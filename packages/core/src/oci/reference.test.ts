import { describe, expect, it } from 'vitest';
import { parseReference } from './reference.ts';

const digest = `sha256:${'a1'.repeat(32)}` as const;

describe('a reference', () => {
  it.each([
    ['up/app', 'up/app', { kind: 'tag', tag: 'latest' }],
    ['up/app:1.0', 'up/app', { kind: 'tag', tag: '1.0' }],
    ['docker-hub/library/alpine:3', 'docker-hub/library/alpine', { kind: 'tag', tag: '3' }],
    ['alpine', 'alpine', { kind: 'tag', tag: 'latest' }],
    [`up/app@${digest}`, 'up/app', { kind: 'digest', digest }],
    [`up/app:1.0@${digest}`, 'up/app', { kind: 'digest', digest }],
    [`up/${'a'.repeat(200)}:1`, `up/${'a'.repeat(200)}`, { kind: 'tag', tag: '1' }],
  ])('%s', (text, name, reference) => {
    expect(parseReference(text)).toEqual({ name, reference });
  });

  it.each([
    ['', 'name-invalid'],
    [':1', 'name-invalid'],
    [`@${digest}`, 'name-invalid'],
    ['Up/app', 'name-invalid'],
    ['up//app', 'name-invalid'],
    ['localhost:5000/app', 'name-invalid'],
    ['https://up/app', 'name-invalid'],
    ['up/app:', 'tag-invalid'],
    ['up/app:-1', 'tag-invalid'],
    ['up/app:1:2', 'tag-invalid'],
    [`up/app:-1@${digest}`, 'tag-invalid'],
    ['up/app@', 'digest-invalid'],
    ['up/app@latest', 'digest-invalid'],
    ['up/app@sha256:short', 'digest-invalid'],
    [`up/app@${digest}@${digest}`, 'digest-invalid'],
    [`up/${'a'.repeat(200)}@nothing`, 'digest-invalid'],
  ])('%j is none: %s', (text, code) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code }));
  });
});
