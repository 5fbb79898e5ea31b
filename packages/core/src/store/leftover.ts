/** What is told of what a dead process left, and cannot be removed. */
export const leftover = (path: string, cause: unknown): string =>
  `cannot remove ${path}, which a dead process left: ${(cause as Error).message}; remove it, or let this user do so`;
