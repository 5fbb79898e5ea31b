import type { Pace } from './client.ts';
import { createBlobCheck } from './disk.ts';
import type { Figures } from './figures.ts';
import { judge, type Window } from './judge.ts';
import { createLedger } from './ledger.ts';
import { anyQuestion, blobQuestion, type Question, requestOf } from './question.ts';
import type { Random } from './random.ts';
import { createShelf } from './shelf.ts';
import type { Setup, Stand } from './stand.ts';
import { createStoreTrouble } from './store-trouble.ts';
import { createUpstreamTrouble } from './upstream-trouble.ts';
import { Violation } from './violation.ts';

/** What may go wrong until the next restart. */
type Mood = 'calm' | 'mild' | 'fallback' | 'store' | 'outage' | 'chaos';

const moods: Readonly<Record<Mood, number>> = { calm: 1, mild: 2, fallback: 2, store: 2, outage: 3, chaos: 3 };
const longestAnswer = 30 * 60_000;

/** Who plays a run: clients, faults, changes of content and restarts at random, each answer judged. */
export function createPlayer(
  stand: Stand,
  random: Random,
  { figures, note }: { figures: Figures; note: (line: string) => void },
): { step(): Promise<void>; settle(): Promise<void>; weight(): number } {
  const { clock, pump } = stand;
  const stamp = () => ({ seq: stand.seq(), at: clock.now() });
  const shelf = createShelf([stand.main, stand.spare], random, stamp);
  const ledger = createLedger();
  const upstreams = createUpstreamTrouble(stand, random);
  const store = createStoreTrouble(stand, random);
  const disk = createBlobCheck();
  const damaged = new Set<string>();
  let sharedSince = stand.seq();
  let mood: Mood = 'calm';
  let left = 0;
  let flipped = false;
  let setup: Setup | undefined;

  function reachable(seq: number, question: Question): boolean {
    const cdnMatters = question.about === 'blob' && setup?.cdn === true;
    if (cdnMatters && !upstreams.cdn.since(seq)) return false;
    if (upstreams.main.since(seq)) return true;
    // That there is nothing is for the first endpoint to say: another may lag behind.
    return setup?.fallback === true && !isNothing(question) && upstreams.spare.since(seq);
  }

  function isNothing(question: Question): boolean {
    const { about, repository } = question;
    if (about === 'referrers') return shelf.referrers(repository, question.digest).length === 0;
    return about === 'tag' && shelf.versions(repository, question.tag).at(-1)?.digest === undefined;
  }

  /** One client, from its request to the verdict on what it got. */
  async function client(question: Question, pace?: Pace): Promise<void> {
    const asked = { seq: stand.seq(), at: clock.now(), sharedSince };
    const answered = await stand.ask(requestOf(question, pace));
    const window: Window = {
      ...asked,
      reachable: reachable(asked.seq, question),
      storeWell: store.since(asked.seq),
      corrupted: upstreams.corruptedSince(sharedSince),
      full: setup?.full === true,
      freshForMs: setup?.freshFor === 0 ? 0 : 30_000,
    };
    figures.requests++;
    const status = String(answered.status);
    figures.statuses[status] = (figures.statuses[status] ?? 0) + 1;
    if (answered.end === 'broken') figures.broken++;
    if (answered.end === 'left') figures.left++;
    if (window.reachable) figures.owed++;
    const wrong = judge({ question, answered }, window, { shelf, ledger });
    const { method, about, repository, ...rest } = question;
    note(
      `  ${method} ${about} ${repository} ${JSON.stringify(rest).replaceAll(/sha256:(.{8})[0-9a-f]{56}/g, '$1')} ${pace ? JSON.stringify(pace) : ''}` +
        ` -> ${status} ${answered.end} ${answered.headers['cache-status'] ?? ''} ${answered.headers['warning'] ?? ''}`,
    );
    if (wrong) throw new Violation(`${method} ${about} of ${repository} ${JSON.stringify(rest)}: ${wrong}`);
  }

  async function play(clients: readonly Promise<void>[]): Promise<void> {
    await pump.drive('an answer', Promise.all(clients), longestAnswer);
  }

  /** Nothing is under way, so that nobody shares what was asked before. */
  function settled(): void {
    if (!stand.quiet() || store.isIll) return;
    sharedSince = stand.seq();
    ledger.learn(stand.events);
    stand.clearLogs();
  }

  async function crowd(): Promise<void> {
    const image = random.pick(shelf.images().slice(-8));
    const blob = { repository: image.repository, ...random.pick(image.blobs) };
    let release = (): void => undefined;
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    const quick: Promise<void>[] = [];
    const slow: Promise<void>[] = [];
    for (let i = random.between(3, 10); i > 0; i--) {
      const question = random.chance(0.75)
        ? blobQuestion(random, blob, random.chance(0.6))
        : anyQuestion(random, shelf);
      const bytes = random.int(blob.size + 1);
      if (random.chance(0.15)) slow.push(client(question, { pauseAfter: bytes, until }));
      else quick.push(client(question, random.chance(0.2) ? { leaveAfter: bytes } : 'steady'));
    }
    await play(quick);
    release();
    await play(slow);
  }

  /** A whole image, as clients pull it. */
  async function pull(): Promise<void> {
    const image = random.pick(shelf.images().slice(-8));
    const { repository } = image;
    const tag = random.pick(shelf.tags);
    await play([client({ about: 'tag', method: random.chance(0.5) ? 'GET' : 'HEAD', repository, tag })]);
    for (const { digest } of image.manifests) {
      await play([client({ about: 'manifest', method: 'GET', repository, digest })]);
    }
    await play(image.blobs.map((blob) => client(blobQuestion(random, { repository, ...blob }, true))));
  }

  async function makeTrouble(): Promise<string> {
    switch (mood) {
      case 'calm':
        return upstreams.harmless();
      case 'mild':
        return upstreams.mild();
      case 'fallback':
        return await upstreams.rough(['main']);
      case 'store':
        return store.start();
      case 'outage':
        return await upstreams.rough(setup?.fallback ? ['main', 'spare', 'cdn'] : ['main', 'cdn']);
      case 'chaos':
        if (random.chance(0.3)) return store.start();
        if (random.chance(0.1)) return damage();
        return await upstreams.rough(setup?.fallback ? ['main', 'spare', 'cdn'] : ['main', 'cdn']);
    }
  }

  function damage(kind: 'damage' | 'flip' = 'damage'): string {
    const { what, digest } = store[kind]();
    if (digest) {
      // What was stored before this is not to be learnt after it.
      ledger.learn(stand.events);
      stand.clearLogs();
      damaged.add(digest);
      ledger.lose(digest);
    }
    return what;
  }

  /** Everything is healed, has ended, and is as it should be. */
  async function settle(): Promise<void> {
    await upstreams.heal();
    store.heal();
    await pump.idle();
    for (let minutes = 0; !stand.quiet() || stand.hasUploads(); minutes++) {
      if (minutes > 30) throw new Violation('something is still under way half an hour after all was healed');
      await pump.run(60_000);
    }
    await pump.run(60_000);
    store.well();
    settled();
    figures.blobsChecked += await disk.check(stand.directory, damaged);
    if (stand.defects.length > 0) throw new Violation(stand.defects.join('\n'));
  }

  async function restart(): Promise<void> {
    if (figures.restarts++ > 0) await settle();
    mood = random.weighted(moods);
    const fresh = random.chance(0.4);
    // Who never reads over what is stored serves what the disk has made of it.
    flipped &&= !fresh;
    setup = {
      fallback: mood === 'fallback' || random.chance(0.3),
      cdn: random.chance(0.4),
      bearer: random.chance(0.3),
      freshFor: random.chance(0.2) ? '30s' : 0,
      coldRange: random.chance(0.3) ? 'verify' : 'pass',
      prefetch: random.chance(0.4),
      full: random.chance(0.1),
      fresh,
      verify: flipped || random.chance(0.4),
    };
    const flips = setup.verify && stand.directory !== '' && !setup.fresh ? random.int(4) : 0;
    flipped ||= flips > 0;
    await stand.restart(setup, () => {
      for (let i = 0; i < flips; i++) note(damage('flip'));
    });
    if (setup.fresh) {
      ledger.clear();
      damaged.clear();
    }
    upstreams.forget();
    left = random.between(15, 45);
    note(`restart: ${mood} ${JSON.stringify(setup)}`);
  }

  return {
    async step() {
      if (left-- <= 0) await restart();
      if (stand.quiet()) settled();
      const action = random.weighted({ pull: 4, one: 6, crowd: 5, move: 3, trouble: 4, heal: 2, later: 2 });
      note(action);
      switch (action) {
        case 'pull':
          await pull();
          break;
        case 'one':
          await play([client(anyQuestion(random, shelf))]);
          break;
        case 'crowd':
          await crowd();
          break;
        case 'move':
          note(shelf.move());
          break;
        case 'trouble':
          note(await makeTrouble());
          break;
        case 'heal':
          note(`${await upstreams.heal()}, ${store.heal()}`);
          break;
        case 'later':
          await pump.run(random.pick([1_000, 10_000, 65_000, 3_600_000]));
          break;
      }
    },
    settle,
    weight: () => shelf.weight(),
  };
}
