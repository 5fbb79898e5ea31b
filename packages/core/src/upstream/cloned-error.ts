import { AddressRefused } from './connector.ts';

/** An error as it goes from thread to thread: cloned by itself it would lose its code and its class. */
export interface ClonedError {
  name: string;
  message: string;
  stack?: string;
  code?: string;
  /** Of an AggregateError: what it is made of. */
  errors?: readonly ClonedError[];
  /** Of an AddressRefused. */
  allowable?: boolean;
}

/** Takes of an error what is looked at when it is told what it means, and no more: the rest may hold what was sent. */
export function cloneError(error: unknown): ClonedError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack } = error;
  return {
    name,
    message,
    ...(stack !== undefined && { stack }),
    ...('code' in error && typeof error.code === 'string' && { code: error.code }),
    ...(error instanceof AggregateError && { errors: error.errors.map(cloneError) }),
    ...(error instanceof AddressRefused && { allowable: error.allowable }),
  };
}

/** The error that a clone was taken of, as far as that went. */
export function errorOf({ name, message, stack, code, errors, allowable }: ClonedError): Error {
  const error = made();
  if (error.name !== name) error.name = name;
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });

  function made(): Error {
    if (allowable !== undefined) return AddressRefused.again({ message, allowable });
    return errors ? new AggregateError(errors.map(errorOf), message) : new Error(message);
  }
}
