-- One step of the shared count of quotas, as `redis.py` asks for it; `sqlite.py` does the same in SQL.
--
-- KEYS[1] is the folder's key, of which all others are made. ARGV[1] is JSON: `kind` is `join`, `leave`, `used` or
-- `apply`, and the other fields are those of `store.py`. The answer is JSON. Redis runs all of it as one step.
--
-- Keys: `participants` (process -> until when it is alive), `labels` (process -> host:pid), `quotas` (names),
-- `rules:QUOTA` (process -> [limit, seconds]), `used:QUOTA` (process/slot -> when it was counted, or until when a running
-- call is), `pause:QUOTA` (what the service refused), `waiting:QUOTA` and `seen:QUOTA` (the queue for a running call).

local base, asked = KEYS[1], cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = asked.now or tonumber(time[1]) + tonumber(time[2]) / 1000000
local me = asked.participant

local function key(...) return base .. ':' .. table.concat({...}, ':') end
local function flat(pairs_) local map = {} for i = 1, #pairs_, 2 do map[pairs_[i]] = pairs_[i + 1] end return map end
local function touch(name) redis.call('EXPIRE', name, asked.keep) end

-- A clock that was set back: all that was counted goes back with it.
local last = tonumber(redis.call('GET', key('last')) or now)
if now < last - 1 then
  for _, quota in ipairs(redis.call('SMEMBERS', key('quotas'))) do
    for _, name in ipairs({key('used', quota), key('waiting', quota), key('seen', quota)}) do
      for member, at in pairs(flat(redis.call('ZRANGE', name, 0, -1, 'WITHSCORES'))) do
        redis.call('ZADD', name, tonumber(at) - (last - now), member)
      end
    end
    redis.call('DEL', key('pause', quota))
  end
elseif now < last then now = last end
redis.call('SET', key('last'), string.format('%.6f', now), 'EX', asked.keep)

-- The quota that counts, of the processes that live and of the asker's own, and its window. Where no process lives and
-- there is no own one, it is the least of all that did.
local function smallest(quota, own)
  local least, seconds, ended = own, nil, nil
  for id, rule in pairs(flat(redis.call('HGETALL', key('rules', quota)))) do
    local expires = tonumber(redis.call('ZSCORE', key('participants'), id) or 0)
    local decoded = cjson.decode(rule)
    if expires > now and (least == nil or decoded[1] < least) then least = decoded[1] end
    if ended == nil or decoded[1] < ended then ended = decoded[1] end
    if seconds == nil or decoded[2] > seconds then seconds = decoded[2] end
  end
  return least or ended, seconds or 0
end
local function size(limit) return math.max(1, math.floor(limit)) end
local function span(seconds, limit) return seconds * math.max(1, size(limit) / limit) * asked.slack end
local function slot(id) return me .. '/' .. string.format('%d', id) end

if asked.kind == 'join' then
  redis.call('ZADD', key('participants'), now + asked.lease, me)
  redis.call('HSET', key('labels'), me, asked.label)
  for _, rule in ipairs(asked.rules) do
    redis.call('SADD', key('quotas'), rule[1])
    redis.call('HSET', key('rules', rule[1]), me, cjson.encode({rule[2], rule[3]}))
    touch(key('rules', rule[1]))
  end
  for _, name in ipairs({'participants', 'labels', 'quotas'}) do touch(key(name)) end
  return '{}'
end

if asked.kind == 'leave' then
  redis.call('ZADD', key('participants'), now, me)
  for _, quota in ipairs(redis.call('SMEMBERS', key('quotas'))) do
    redis.call('ZREM', key('waiting', quota), me)
    redis.call('ZREM', key('seen', quota), me)
    local _, seconds = smallest(quota, nil)
    if seconds == 0 then
      for _, member in ipairs(redis.call('ZRANGE', key('used', quota), 0, -1)) do
        if string.sub(member, 1, #me + 1) == me .. '/' then redis.call('ZREM', key('used', quota), member) end
      end
    end
  end
  return '{}'
end

if asked.kind == 'used' then
  local found, labels = {}, flat(redis.call('HGETALL', key('labels')))
  for _, quota in ipairs(redis.call('SMEMBERS', key('quotas'))) do
    local limit, seconds = smallest(quota, nil)
    if limit ~= nil then
      local since, counts, left = now, {}, math.floor(limit)
      if seconds > 0 then since = now - span(seconds, limit) end
      for _, member in ipairs(redis.call('ZRANGE', key('used', quota), '(' .. string.format('%.6f', since), '+inf',
          'BYSCORE')) do
        local label = labels[string.match(member, '^[^/]*')] or '(gone)'
        counts[label], left = (counts[label] or 0) + 1, left - 1
      end
      local paused = tonumber(redis.call('HGET', key('pause', quota), 'until') or 0)
      if paused > now and left > 0 then counts['(others)'] = left end
      local any = false
      for label, count in pairs(counts) do
        any = true
        table.insert(found, {quota, label, count, limit})
      end
      if not any then table.insert(found, {quota, '', 0, limit}) end
    end
  end
  return cjson.encode({rows = found})
end

for _, held in ipairs(asked.held) do
  redis.call('ZADD', key('used', held[2]), now + asked.lease, slot(held[1]))
end
local quotas = redis.call('SMEMBERS', key('quotas'))
for _, id in ipairs(asked.counted) do
  for _, quota in ipairs(quotas) do
    local _, seconds = smallest(quota, nil)
    if seconds > 0 then redis.call('ZADD', key('used', quota), 'XX', 'GT', now, slot(id)) end
  end
end
for _, id in ipairs(asked.given_back) do
  for _, quota in ipairs(quotas) do redis.call('ZREM', key('used', quota), slot(id)) end
end
for _, refusal in ipairs(asked.refused) do
  local name = key('pause', refusal[1])
  local until_ = math.max(now + refusal[2], tonumber(redis.call('HGET', name, 'until') or 0))
  redis.call('HSET', name, 'until', string.format('%.6f', until_), 'refusal', refusal[3])
  touch(name)
end

local function has_turn(quota, limit)
  local waiting, seen, used = key('waiting', quota), key('seen', quota), key('used', quota)
  if tonumber(redis.call('ZSCORE', seen, me) or 0) < now - asked.present then redis.call('ZREM', waiting, me) end
  redis.call('ZADD', waiting, 'NX', now, me)
  redis.call('ZADD', seen, now, me)
  touch(waiting) touch(seen)
  local ahead = 0
  for _, id in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do
    if id == me then break end
    if tonumber(redis.call('ZSCORE', seen, id) or 0) >= now - asked.present then ahead = ahead + 1 end
  end
  local running = redis.call('ZCOUNT', used, '(' .. string.format('%.6f', now), '+inf')
  if running + ahead >= limit then return false end
  redis.call('ZREM', waiting, me)
  redis.call('ZREM', seen, me)
  return true
end

-- Whether a slot that was granted ahead is free now, or when: those before it may have been counted late.
local function confirmed(ask)
  local at = now
  for _, rule in ipairs(ask[2]) do
    local quota, used = rule[1], key('used', rule[1])
    local limit, place = smallest(quota, rule[2]), redis.call('ZREVRANK', used, slot(ask[1]))
    if rule[3] > 0 and place then
      local before = redis.call('ZRANGE', used, place + size(limit), place + size(limit), 'REV', 'WITHSCORES')
      if before[2] then at = math.max(at, tonumber(before[2]) + span(rule[3], limit)) end
    end
  end
  for _, rule in ipairs(ask[2]) do
    redis.call('ZADD', key('used', rule[1]), 'XX', 'GT', string.format('%.6f', at), slot(ask[1]))
  end
  return {at - now}
end

local function answer(ask)
  if ask[3] then return confirmed(ask) end
  local at, name = now, ''
  for _, rule in ipairs(ask[2]) do
    local quota, seconds = rule[1], rule[3]
    local paused = tonumber(redis.call('HGET', key('pause', quota), 'until') or 0)
    if paused > now then
      return {quota, math.min(paused - now, asked.horizon), paused - now,
        redis.call('HGET', key('pause', quota), 'refusal')}
    end
    local limit = smallest(quota, rule[2])
    if seconds == 0 then
      if not has_turn(quota, math.floor(limit)) then return {quota, asked.retry, 0, ''} end
    else
      local used, free = key('used', quota), now
      local oldest = redis.call('ZRANGE', used, size(limit) - 1, size(limit) - 1, 'REV', 'WITHSCORES')
      if oldest[2] then free = tonumber(oldest[2]) + span(seconds, limit) end
      local newest = redis.call('ZRANGE', used, 0, 0, 'REV', 'WITHSCORES')
      if newest[2] then free = math.max(free, tonumber(newest[2])) end
      if free > at then at, name = free, quota end
    end
  end
  if at - now > asked.horizon then return {name, at - now - asked.horizon / 2, at - now, ''} end
  for _, rule in ipairs(ask[2]) do
    local used, score = key('used', rule[1]), at
    if rule[3] == 0 then score = now + asked.lease end
    redis.call('ZADD', used, string.format('%.6f', score), slot(ask[1]))
    touch(used)
  end
  return {at - now}
end

local reply = {answers = {}, participants = 0, limits = {}}
for index, ask in ipairs(asked.asks) do reply.answers[index] = answer(ask) end
if asked.beat then
  for _, quota in ipairs(quotas) do
    local limit, seconds = smallest(quota, nil)
    local since = now
    if seconds > 0 and limit ~= nil then since = now - span(seconds, limit) end
    redis.call('ZREMRANGEBYSCORE', key('used', quota), '-inf', string.format('(%.6f', since))
    if limit ~= nil then table.insert(reply.limits, {quota, limit}) end
  end
  for _, id in ipairs(redis.call('ZRANGE', key('participants'), '-inf', now - 86400, 'BYSCORE')) do
    redis.call('ZREM', key('participants'), id)
    redis.call('HDEL', key('labels'), id)
    for _, quota in ipairs(quotas) do redis.call('HDEL', key('rules', quota), id) end
  end
  reply.participants = redis.call('ZCOUNT', key('participants'), '(' .. string.format('%.6f', now), '+inf')
end
return cjson.encode(reply)
