import type { SnippetSetting } from './snippet.ts';

/** An image as people name it: `library/hello` and `1.0`. */
export interface ImageReference {
  repository: string;
  tag: string;
}

/** A program that people pull with, set up to go through the cache. */
export interface PullClient {
  /** Pulls, with nothing kept from an earlier pull. @returns the digest of what the tag names. @throws what it said */
  pull(image: ImageReference): Promise<string>;
  /** Runs a shell script that finds this client as it is set up. @returns what it printed. @throws what it said */
  shell(script: string): Promise<string>;
  close(): Promise<void>;
}

/** A client that starts containers too. */
export interface RunClient extends PullClient {
  /** Starts what {@link PullClient.pull} pulled last. @returns what it printed */
  run(image: ImageReference): Promise<string>;
}

/** What a client is started with. The cache's upstream is its default too, and stands for Docker Hub. */
export interface ClientSetting extends SnippetSetting {
  /** Keeps the client from asking anybody else. */
  environment: Readonly<Record<string, string>>;
}
