/** One entry of a token's `access` claim (distribution, "Docker Registry v2 Bearer token specification"). */
export interface AccessEntry {
  type: string;
  name: string;
  actions: readonly string[];
}

/** The longest `scope` that is read. Names are at most 255 characters: it holds what any client asks for at once. */
const longestScope = 4096;
const mostRepositories = 32;
const longestName = 255;

/** `undefined`: more than a token can carry, as it has to fit into a header. */
export type Granted = readonly AccessEntry[] | undefined;

/**
 * What is granted of the scopes that were asked for: `pull` of the repositories among them, to list repositories, and
 * nothing else. What cannot be read is granted nothing, as the token specification has it; it is no error.
 *
 * @param asked `scope` parameters, each with any number of scopes between spaces
 * @param within the repositories that may be granted. Default: all
 */
export function grantScopes(asked: readonly string[], within?: readonly string[]): Granted {
  const scopes = asked.flatMap((scope) => scope.split(' '));
  if (scopes.reduce((length, scope) => length + scope.length + 1, 0) > longestScope) return undefined;
  const wanted = new Set(scopes.map(repositoryToPull).filter((name) => name !== undefined));
  if (wanted.size > mostRepositories) return undefined;
  const names = [...wanted].filter((name) => within === undefined || within.includes(name));
  const repositories = names.map((name) => ({ type: 'repository', name, actions: ['pull'] }));
  // Who is narrowed to some repositories would no longer be, in a token for the list of all.
  return within === undefined && scopes.includes(catalogScope) ? [...repositories, catalog] : repositories;
}

const catalogScope = 'registry:catalog:*';
const catalog: AccessEntry = { type: 'registry', name: 'catalog', actions: ['*'] };

/** The granted scopes as one text (RFC 6749 3.3). */
export function scopeText(access: readonly AccessEntry[]): string {
  return access.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ');
}

/** The repositories that a token's `access` claim lets its bearer pull from; `undefined`: it has no such claim. */
export function pullableRepositories(access: unknown): readonly string[] | undefined {
  if (access === undefined) return undefined;
  // A claim that is none narrows to nothing: what cannot be read must not widen.
  if (!Array.isArray(access)) return [];
  return access.flatMap((entry: Partial<AccessEntry> | null) => {
    if (entry?.type !== 'repository' || typeof entry.name !== 'string' || !Array.isArray(entry.actions)) return [];
    return grantsPull(entry.actions) ? [entry.name] : [];
  });
}

/** Whether a token's `access` claim lets its bearer list repositories. */
export function listsCatalog(access: unknown): boolean {
  if (!Array.isArray(access)) return false;
  return access.some((entry: Partial<AccessEntry> | null) => {
    // Token services name what they refuse, too, with no action (distribution, token specification).
    const { type, name, actions } = entry ?? {};
    return type === 'registry' && name === 'catalog' && Array.isArray(actions) && grantsPull(actions);
  });
}

/** `repository:<name>:pull,push`: the name may have a colon, of a host's port. */
function repositoryToPull(scope: string): string | undefined {
  const actionsAt = scope.lastIndexOf(':') + 1;
  const name = scope.slice('repository:'.length, Math.max(actionsAt - 1, 0));
  const isRepository =
    scope.startsWith('repository:') && name.length <= longestName && /^[a-z0-9][a-z0-9._:/-]*$/.test(name);
  return isRepository && grantsPull(scope.slice(actionsAt).split(',')) ? name : undefined;
}

/** `*` is every action, so `pull` too. */
const grantsPull = (actions: readonly unknown[]): boolean => actions.includes('pull') || actions.includes('*');
