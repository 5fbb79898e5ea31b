import { createHash } from 'node:crypto';
import type { Redis, RedisCall } from './redis.ts';
import { replyCode } from './redis-failure.ts';

/** A script that the server runs as one step, and the name it is called by once the server knows it. */
export interface Script {
  text: string;
  sha: string;
}

export const script = (text: string): Script => ({ text, sha: createHash('sha1').update(text).digest('hex') });

// `state` is nil for nothing, else 'live', 'expired' or 'unreadable'.
const readHead = `
local function head(key, now)
  local line = string.match(redis.call('GETRANGE', key, 0, 255), '^([^\\n]*)\\n')
  if not line then
    if redis.call('EXISTS', key) == 0 then return nil end
    return 'unreadable'
  end
  local version, expires, fence = string.match(line, '^1 (%S+) (%S+) (%S+)$')
  if not version then return 'unreadable' end
  if expires ~= '-' then
    local at = tonumber(expires)
    if not at then return 'unreadable' end
    if at <= tonumber(now) then return 'expired', version, fence end
  end
  return 'live', version, fence
end
`;

/**
 * KEYS record, index; ARGV member, now, condition ('' for none), fence ('-' for none), version, expiresAt ('-'), ttl in ms
 * (''), the same with a fence, value. Gives 1 when it wrote, 0 when a condition forbade it, -1 when what is there cannot be compared with.
 */
export const setScript: Script = script(`${readHead}
local state, version, fence = head(KEYS[1], ARGV[2])
local condition, token = ARGV[3], ARGV[4]
if state == 'unreadable' and (condition ~= '' or token ~= '-') then return -1 end
if token ~= '-' and fence and fence ~= '-' and tonumber(token) < tonumber(fence) then return 0 end
if condition ~= '' then
  if state ~= 'live' then version = 'absent' end
  if version ~= condition then return 0 end
end
if token == '-' and fence then token = fence end
local text = '1 ' .. ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. token .. '\\n' .. ARGV[9]
local ttl = ARGV[token == '-' and 7 or 8]
if ttl == '' then redis.call('SET', KEYS[1], text)
else redis.call('SET', KEYS[1], text, 'PX', ttl) end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
`);

/**
 * KEYS record, index; ARGV member, now, condition ('' for none), ttl in ms of a fence. Gives 1 when it removed something
 * valid. Of a record with a fence an expired one without a value stays, which has the fence.
 */
export const deleteScript: Script = script(`${readHead}
local state, version, fence = head(KEYS[1], ARGV[2])
if ARGV[3] ~= '' and (state == 'unreadable' or (state == 'live' and version ~= ARGV[3])) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
if not fence or fence == '-' then redis.call('DEL', KEYS[1])
elseif state == 'live' then
  redis.call('SET', KEYS[1], '1 ' .. version .. ' ' .. ARGV[2] .. ' ' .. fence .. '\\n', 'PX', ARGV[4])
end
if state == 'live' or state == 'unreadable' then return 1 end
return 0
`);

/**
 * KEYS index, records; ARGV now, members. Gives 1 or 0 for each record, whether something is there; of the others
 * nothing is left but their fences.
 */
export const keepLiveScript: Script = script(`${readHead}
local live = {}
for i = 2, #KEYS do
  local state, version, fence = head(KEYS[i], ARGV[1])
  if state == 'live' or state == 'unreadable' then live[i - 1] = 1
  else
    if not fence or fence == '-' then redis.call('DEL', KEYS[i]) end
    redis.call('ZREM', KEYS[1], ARGV[i])
    live[i - 1] = 0
  end
end
return live
`);

/** Runs a script; its text is sent only to a server that does not know it yet. */
export async function runScript(
  redis: Redis,
  { text, sha, keys, args }: Script & { keys: readonly string[]; args: readonly string[] },
  call: RedisCall,
): Promise<unknown> {
  const key = keys[0] ?? '';
  const rest = [String(keys.length), ...keys, ...args];
  try {
    return await redis.send(key, ['EVALSHA', sha, ...rest], call);
  } catch (error) {
    if (!(error instanceof Error) || replyCode(error.cause) !== 'NOSCRIPT') throw error;
    return await redis.send(key, ['EVAL', text, ...rest], call);
  }
}
