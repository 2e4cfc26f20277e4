-- The full state of a lock, once the lock word is not enough: several sessions hold or wait. Pasted into each script
-- at its `--@state` line, behind the part that needs only the word.
--
-- Expects: ME (the calling session), word (the value of KEYS[1] or false), now (server's clock, µs), LEASE (waiter
-- lease, ms).
-- KEYS of every script, all in one hash slot:
--   1 word     string: '<session> <range> <longest lease, ms> <pushes>'  one session alone, and nobody waits
--                      'full'  see the other keys      'free <token>'  free, and no token up to this one again
--   2 grants   zset: session -> end of its lease (µs); '!' before a session: nobody holds, but others are kept out
--   3 queue    zset: '<session> <first ticket>' -> order of arrival; the lowest is next
--   4 waiters  zset: session -> end of its waiter lease (µs)
--   5 records  hash: session -> '<pushes> <range> <range> ...', its grant first, then its ranges in the queue
--              and 'last' the last token, 'mode' of the grants, 'span' the longest lease (ms)
-- A range is '<r or w><first ticket>-<last ticket>', and behind that '@<token of the first>~<epoch>' if granted.
-- pushes: 'p' the session hears pushes, and PUBLISH counts it; 'c' it hears, but is not counted; '-' it does not.
-- Keys 2 to 5 count for nothing unless the word is 'full'. All five expire together.

local GRANTS, QUEUE, WAITERS, RECORDS = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- What is done for others in one call is bounded, so that no call stalls the server.
local BATCH = 100

-- Every name is read before anything is written: a foreign type raises WRONGTYPE and is left alone.
local holders = redis.call('ZCARD', GRANTS)
local queued = redis.call('ZCARD', QUEUE)
local waiting = redis.call('ZCARD', WAITERS)
local saved = redis.call('HMGET', RECORDS, 'last', 'mode', 'span')

local full = word == 'full'
local last, held, span = 0, false, 0
-- The grant that the word has, and whose it is.
local owner, alone, owner_pushes
local found, more = false, false

-- tostring() loses digits above 10^14.
local function number(n) return string.format('%.0f', n) end

local function parse(text)
  local record = { pushes = string.sub(text, 1, 1), queued = {} }
  for mode, from, to, token, epoch in string.gmatch(text, '([rw])(%d+)%-(%d+)@?(%d*)~?(%d*)') do
    local range = { mode = mode, from = tonumber(from), to = tonumber(to) }
    if token == '' then
      record.queued[#record.queued + 1] = range
    else
      range.token, range.epoch = tonumber(token), tonumber(epoch)
      record.grant = range
    end
  end
  return record
end

local function show(range)
  local text = range.mode .. number(range.from) .. '-' .. number(range.to)
  if range.token then text = text .. '@' .. number(range.token) .. '~' .. range.epoch end
  return text
end

local function record_of(session)
  local text = redis.call('HGET', RECORDS, session)
  return text and parse(text) or { pushes = '-', queued = {} }
end

if full then
  last, held, span = tonumber(saved[1]) or 0, saved[2], tonumber(saved[3]) or 0
elseif word then
  local free = string.match(word, '^free (%d+)$')
  if free then
    last = tonumber(free)
  else
    local session, range, longest, pushes =
      string.match(word, '^(%x+) ([rw]%d+%-%d+@%d+~%d+) (%d+) ([pc-])$')
    if not session then
      return redis.error_reply('FOREIGN the value at ' .. KEYS[1] .. ' is not a lock')
    end
    owner, owner_pushes, span = session, pushes, tonumber(longest)
    alone = parse('- ' .. range).grant
    last = alone.token + alone.to - alone.from
  end
end

-- What the grant of the word has left, in ms: never more than the longest lease (a clock was set back), nor no end
-- at all.
local function alone_left()
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > span then return span end
  return left
end

-- A grant of the word, with a lease from now. The word outlives the clock's catching up with the last token.
local function put_alone(range, ms)
  local text = ME .. ' ' .. show(range) .. ' ' .. span .. ' ' .. owner_pushes
  redis.call('SET', KEYS[1], text, 'PX', ms)
end

-- Those of keys 2 to 5 that this call has made: they have no TTL yet.
local made = { [5] = full and not saved[1] }

-- Keeps the whole state for at least `ms`, and for as long as the clock could show less than the last token. Never
-- shortens it. Every path that wrote to the state ends (or, so as to be allowed when the memory is full, begins)
-- with it.
local function keep(ms)
  ms = math.ceil(math.max(ms, (last - now) / 1000) + 2)
  local left = redis.call('PTTL', KEYS[1])
  for i = 1, 5 do
    -- The word always: that is the write that is allowed.
    if i == 1 or left < ms or made[i] then redis.call('PEXPIRE', KEYS[i], math.max(left, ms)) end
  end
  made = {}
end

-- The full state instead of the word.
local function open()
  if full then return end
  -- Left behind by a word that was evicted or deleted. (Not always sent: a write that a full memory allows would
  -- make it allow all that follow.)
  if holders + queued + waiting > 0 or saved[1] then redis.call('DEL', GRANTS, QUEUE, WAITERS, RECORDS) end
  holders, queued, waiting, full = 0, 0, 0, true
  made = { false, true, true, true, true }
  local left = 0
  if owner then
    left = alone_left()
    holders, held = 1, alone.mode
    redis.call('ZADD', GRANTS, now + left * 1000, owner)
    redis.call('HSET', RECORDS, owner, owner_pushes .. ' ' .. show(alone),
      'last', number(last), 'mode', held, 'span', span)
  end
  redis.call('SET', KEYS[1], 'full', 'PX', left + 2)
end

-- Nobody has the lock and nobody waits. The floor for tokens stays exactly as long as the server's clock could still
-- show less, since keys expire by that same clock.
local function close()
  redis.call('DEL', GRANTS, QUEUE, WAITERS, RECORDS)
  local ms = math.ceil(math.max(last - now, 0) / 1000) + 2
  local set = redis.pcall('SET', KEYS[1], 'free ' .. number(last), 'PX', ms)
  -- A full memory refuses a SET, never a DEL.
  if set.err then redis.call('DEL', KEYS[1]) end
end

local function widen(ms)
  if ms > span then
    span = ms
    redis.call('HSET', RECORDS, 'span', span)
  end
end

-- Writes a record, and ends the waiter lease of a session that has no place in the queue.
local function save(session, record)
  local texts = { record.pushes }
  if record.grant then texts[2] = show(record.grant) end
  for _, range in ipairs(record.queued) do texts[#texts + 1] = show(range) end
  if #record.queued == 0 then redis.call('ZREM', WAITERS, session) end
  if #texts == 1 then
    redis.call('HDEL', RECORDS, session)
  else
    redis.call('HSET', RECORDS, session, table.concat(texts, ' '))
  end
end

local function end_grant(session, record)
  holders = holders - redis.call('ZREM', GRANTS, session)
  record.grant = nil
end

local function leave_queue(session, range)
  queued = queued - redis.call('ZREM', QUEUE, session .. ' ' .. number(range.from))
end

-- A range in the queue begins later from now on.
local function cut(session, range, from)
  local member = session .. ' ' .. number(range.from)
  local place = redis.call('ZSCORE', QUEUE, member)
  redis.call('ZREM', QUEUE, member)
  redis.call('ZADD', QUEUE, place, session .. ' ' .. number(from))
  made[3] = true
  range.from = from
end

-- The tickets of a grant below `from` are done.
local function without(grant, from)
  grant.token = grant.token + from - grant.from
  grant.from = from
end

-- Ends what is over, and cuts leases that reach further than any can (a clock was set back). Returns how many live.
local function mend(leases, count, forget)
  local furthest = now + span * 1000
  local living, sound = '(' .. number(now), number(furthest)
  if redis.call('ZCOUNT', leases, living, sound) == count then return count end
  local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', number(now), 'LIMIT', 0, BATCH)
  for _, session in ipairs(dead) do forget(session) end
  if #dead > 0 then redis.call('ZREM', leases, unpack(dead)) end
  local odd = redis.call('ZRANGEBYSCORE', leases, '(' .. sound, '+inf', 'LIMIT', 0, BATCH)
  for _, session in ipairs(odd) do
    -- First a write that a full memory does not refuse.
    redis.call('ZREM', leases, session)
    redis.call('ZADD', leases, furthest, session)
    made[leases == GRANTS and 2 or 4] = true
  end
  more = more or #dead == BATCH
  return redis.call('ZCOUNT', leases, living, '+inf')
end

local function repair()
  if holders > 0 then
    holders = mend(GRANTS, holders, function(session)
      local record = record_of(session)
      record.grant = nil
      save(session, record)
    end)
  end
  if queued > 0 then
    mend(WAITERS, waiting, function(session)
      local record = record_of(session)
      for _, range in ipairs(record.queued) do leave_queue(session, range) end
      record.queued = {}
      save(session, record)
    end)
  end
end

local function fits(mode)
  return holders == 0 or (mode == 'r' and held == 'r')
end

-- Sets what the store knows of a grant.
local function put(session, record, lease_end)
  local grant = record.grant
  last = grant.token + grant.to - grant.from
  held = grant.mode
  if redis.call('ZADD', GRANTS, lease_end, session) == 1 then
    made[2] = made[2] or holders == 0
    holders = holders + 1
  end
  save(session, record)
  redis.call('HSET', RECORDS, 'last', number(last), 'mode', held)
end

local function publish(session, message)
  local heard = redis.pcall('PUBLISH', 'redis-lock:' .. session, KEYS[1] .. ' ' .. message)
  -- An ACL may refuse the channel; the heartbeat finds the grant then.
  return type(heard) == 'table' and 1 or heard
end

-- Gives the lock to the head of the queue, and to all behind it that may hold beside it. A session that does not
-- hear of it keeps its place, and is passed over: its connection is gone.
local function serve()
  local passed_over, deaf = 0, {}
  for _ = 1, BATCH do
    if queued <= passed_over then return end
    local head = redis.call('ZRANGE', QUEUE, passed_over, passed_over)[1]
    local session, from = string.match(head, '^(%x+) (%d+)$')
    local record = record_of(session)
    local place
    for i, range in ipairs(record.queued) do
      if number(range.from) == from then place = i end
    end
    local lease_end = tonumber(redis.call('ZSCORE', WAITERS, session) or 0)
    local range = record.queued[place]
    if not range or lease_end <= now then
      queued = queued - redis.call('ZREM', QUEUE, head)
      if range then
        table.remove(record.queued, place)
        save(session, record)
      end
    elseif not fits(range.mode) then
      return
    else
      local grant = { mode = range.mode, from = range.from, to = range.to, epoch = 0 }
      grant.token = math.max(last + 1, now)
      local before = record.grant
      if before then
        grant.from, grant.epoch = before.from, before.epoch
        lease_end = math.max(lease_end, tonumber(redis.call('ZSCORE', GRANTS, session) or 0))
      end
      local heard = not deaf[session]
      if heard and session ~= ME and record.pushes ~= '-' then
        heard = publish(session, show(grant)) > 0 or record.pushes ~= 'p'
      end
      if heard then
        table.remove(record.queued, place)
        leave_queue(session, range)
        record.grant = grant
        put(session, record, lease_end)
      else
        deaf[session] = true
        passed_over = passed_over + 1
      end
    end
  end
  more = true
end

-- The waiter lease of this session, if it has a place in the queue.
local function stay_alive(record)
  if #record.queued == 0 then return end
  keep(LEASE)
  redis.call('ZADD', WAITERS, now + LEASE * 1000, ME)
  made[4] = true
  widen(LEASE)
  keep(LEASE)
end

-- This session's tickets below `first` are done.
local function done_below(record, first)
  local changed = false
  local grant = record.grant
  if grant and grant.to < first then
    end_grant(ME, record)
    changed = true
  elseif grant and grant.from < first then
    without(grant, first)
    changed = true
  end
  for i = #record.queued, 1, -1 do
    local range = record.queued[i]
    if range.to < first then
      leave_queue(ME, range)
      table.remove(record.queued, i)
      changed = true
    elseif range.from < first then
      cut(ME, range, first)
      changed = true
    end
  end
  if changed then save(ME, record) end
end

-- Keeps the state for as long as somebody may rely on it, and not much longer: nothing is to be left when all are
-- dead.
local function settle()
  if holders == 0 and queued == 0 then return close() end
  local latest = last
  for _, leases in ipairs({ GRANTS, WAITERS }) do
    latest = math.max(latest, tonumber(redis.call('ZREVRANGE', leases, 0, 0, 'WITHSCORES')[2] or 0))
  end
  local ms = math.ceil(math.max(latest - now, 0) / 1000) + 2
  if redis.call('PTTL', KEYS[1]) <= ms + 1000 then return keep(0) end
  for i = 1, 5 do redis.call('PEXPIRE', KEYS[i], ms) end
end

-- '<now> <place> <ms until the others' leases end> <flags>' and the ranges of this session, its grant with '+<ms
-- left>'.
-- Flags: 'f' found, 'm' more to do, '-' none.
local function view()
  local texts = { number(now), 0, 0, '-' }
  local flags = (found and 'f' or '') .. (more and 'm' or '')
  if flags ~= '' then texts[4] = flags end
  if not full then
    local left = alone and alone_left() or 0
    if left > 0 and owner == ME then
      texts[5] = show(alone) .. '+' .. left
    elseif left > 0 then
      texts[3] = left
    end
    return table.concat(texts, ' ')
  end
  local function left(lease_end)
    return math.ceil(math.max(lease_end - now, 0) / 1000)
  end
  local record = record_of(ME)
  local latest = redis.call('ZREVRANGE', GRANTS, 0, 1, 'WITHSCORES')
  if latest[1] and latest[1] ~= ME then
    texts[3] = left(tonumber(latest[2]))
  elseif latest[3] then
    texts[3] = left(tonumber(latest[4]))
  end
  if record.grant then
    local ms = left(tonumber(redis.call('ZSCORE', GRANTS, ME) or 0))
    if ms > 0 then texts[#texts + 1] = show(record.grant) .. '+' .. ms end
  end
  for i, range in ipairs(record.queued) do
    if i == 1 then texts[2] = redis.call('ZRANK', QUEUE, ME .. ' ' .. number(range.from)) end
    texts[#texts + 1] = show(range)
  end
  return table.concat(texts, ' ')
end
