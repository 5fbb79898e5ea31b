/** What happens where passwords are checked. */
export type PasswordEvent =
  /** An htpasswd file was read, at first and after each change. */
  | { type: 'htpasswd-read'; path: string; users: number }
  /** It cannot be read or used any more: what was last read well goes on to hold. Told once for each reason. */
  | { type: 'htpasswd-failed'; path: string; error: string }
  | { type: 'warning'; message: string };

/** Is told of events. What it throws is dropped. */
export type PasswordObserver = (event: PasswordEvent) => void;
