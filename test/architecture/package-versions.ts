import { readdirSync, readFileSync } from 'node:fs';
import { top } from './source-file.ts';

/** What this check reads of a package.json. */
export interface PackageFacts {
  name: string;
  version?: string;
  private?: boolean;
  engines?: { node?: string };
}

/** Every package.json below packages/. */
export function readPackages(): PackageFacts[] {
  const names = readdirSync(`${top}/packages`).sort();
  return names.map((name) => JSON.parse(readFileSync(`${top}/packages/${name}/package.json`, 'utf8')) as PackageFacts);
}

/** Public packages whose version or engines differ from those of the first: all are released as one. */
export function disagreements(packages: readonly PackageFacts[]): string[] {
  const [first, ...rest] = packages.filter((one) => !one.private);
  if (!first) throw new Error('no public package');
  return rest.flatMap((one) => [
    ...(one.version === first.version ? [] : [`${one.name}: version ${one.version}, ${first.name} ${first.version}`]),
    ...(one.engines?.node === first.engines?.node
      ? []
      : [`${one.name}: node ${one.engines?.node}, ${first.name} ${first.engines?.node}`]),
  ]);
}
