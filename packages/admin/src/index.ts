export { type Admin, createAdmin } from './admin.ts';
export type { AdminOptions } from './admin-options.ts';
export type { AdminQuestion, AuthorizeAdmin } from './authorize.ts';
export type { Problem } from './problem.ts';
