/** One rule of an interface, as something to run: `make` gives a fresh, empty implementation each time. */
export interface ContractCase<Make> {
  /** The rule in a sentence; unique within its contract. */
  name: string;
  /** Rejects when the rule is broken. */
  run(make: Make): Promise<void>;
}

/** All the rules of an interface. Data, so that any test runner can run them. */
export type Contract<Make> = readonly ContractCase<Make>[];

/** A rule that an implementation does not keep, and why. */
export interface SkippedCase {
  /** The case's name. */
  case: string;
  reason: string;
}

/**
 * The cases that an implementation is run by: all but those it declares not to keep.
 *
 * @throws Error for a skip of a case that does not exist, twice, or without a reason
 */
export function casesOf<Make>(
  contract: Contract<Make>,
  options: { skip?: readonly SkippedCase[] } = {},
): Contract<Make> {
  const skipped = new Set<string>();
  for (const { case: name, reason } of options.skip ?? []) {
    if (!contract.some((one) => one.name === name)) throw new Error(`skip: the contract has no case "${name}"`);
    if (skipped.has(name)) throw new Error(`skip: "${name}" is there twice`);
    if (reason.trim() === '') throw new Error(`skip: say why "${name}" is not kept`);
    skipped.add(name);
  }
  return contract.filter((one) => !skipped.has(one.name));
}
