import { createClient } from '@keyv/redis';

type Client = ReturnType<typeof createClient>;
type ClientOptions = NonNullable<Parameters<typeof createClient>[0]>;

let first: Client | undefined;

/**
 * A client that is not connected. The package makes a class with all of Redis' commands for each set of options, which
 * takes 25 ms of the event loop and as much of the garbage collector; a server that is away is connected to again and
 * again, and with sentinels by one client for each. All of ours are of one class.
 */
export function newClient(options: ClientOptions): Client {
  first ??= createClient();
  return first.duplicate(options);
}
