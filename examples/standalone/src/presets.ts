import {
  dockerHub,
  ghcr,
  gitlab,
  harbor,
  kubernetes,
  type PresetOverrides,
  quay,
  registry,
  type UpstreamOptions,
} from '@proxycache/core';

/** Presets that know where their registry is. */
const located = { 'docker-hub': dockerHub, ghcr, quay, kubernetes, gitlab };
/** Presets that have to be told. */
const unlocated = { harbor, registry };

/** What `source` can say. */
export type PresetName = keyof typeof located | keyof typeof unlocated;

export const presetNames: readonly PresetName[] = [...namesOf(located), ...namesOf(unlocated)];

function namesOf<Name extends string>(presets: Record<Name, unknown>): readonly Name[] {
  return Object.keys(presets) as Name[];
}

/** Whether a preset's `url` has to be given. */
export const needsUrl = (name: PresetName): name is keyof typeof unlocated => name in unlocated;

/** A preset's options, with what the configuration says in their place. */
export function fromPreset(name: PresetName, overrides: PresetOverrides): UpstreamOptions {
  if (!needsUrl(name)) return located[name](overrides);
  const { url = '', ...others } = overrides;
  return unlocated[name](url, others);
}
