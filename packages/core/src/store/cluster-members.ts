import { answerTo, published, type ToPrimary, type ToWorker } from './cluster-messages.ts';
import type { LeaseTable, Member } from './lease-table.ts';

/** The coordinators of one worker, as its primary knows them. */
export interface ClusterMembers {
  /** Does what one of them asks for. */
  answer(message: ToPrimary): ToWorker;
  /** Ends what all of them have: the worker is gone. */
  leave(): void;
}

/**
 * Each coordinator of a worker is a member of the table by itself: one that closes, or ends a subscription, takes nothing
 * from another of the same name.
 *
 * @param tell brings what was published to the worker
 */
export function createClusterMembers(table: LeaseTable, tell: (message: ToWorker) => void): ClusterMembers {
  const members = new Map<string, Member>();

  function join(from: string): Member {
    const member = table.join((channel, message) => tell(published(from, channel, message)));
    members.set(from, member);
    return member;
  }

  return {
    answer(message) {
      const { from, id, ...call } = message;
      const member = members.get(from) ?? join(from);
      const answer = member.answer(call);
      if (call.call === 'leave') members.delete(from);
      return answerTo({ from, id }, answer);
    },
    leave() {
      for (const member of members.values()) member.leave();
      members.clear();
    },
  };
}
