-- The full state of a lock, for when the lock word is not enough: several sessions hold or wait. Pasted into each
-- script at the `--@state` line, behind the part that needs only the word.
--
-- Expects: ME (the calling session), word (the value of KEYS[1] or false), now and clock (the server's clock, µs, as a
-- number and as text), LEASE (waiter lease, ms).
-- KEYS of every script, all in one hash slot:
--   1 word     string: '<session> <range> <longest lease, ms> <pushes>'  one session holds, no session waits
--                      'full'  see keys 2 to 5         'free <token>'  free; the next token is greater than this
--   2 grants   zset: session -> end of its lease (µs); '!' before a session: no session holds, but all are kept out
--   3 queue    zset: '<session> <first ticket>' -> order of arrival; the lowest is next
--   4 waiters  zset: session -> end of its waiter lease (µs)
--   5 records  hash: session -> '<pushes> <range> <range> ...', first the grant, then the ranges in the queue
--              and 'last' the last token, 'mode' of the grants, 'span' the longest lease (ms)
-- A range is '<r or w><first ticket>-<last ticket>'; a grant has '@<token of the first ticket>~<epoch>' at the end.
-- pushes: 'p' the session hears pushes, and PUBLISH counts that; 'c' hears, but PUBLISH does not count; '-' is deaf.
-- Keys 2 to 5 count for nothing unless the word is 'full'. All five expire together.

local GRANTS, QUEUE, WAITERS, RECORDS = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- A call does a bounded amount of work for other sessions, so that no call stalls the server.
local BATCH = 100
-- A state that is kept for up to this much longer than needed, in ms, is left alone: saves five commands when the claim
-- of a waiter follows the lease of a holder.
local most_spare = 15000

-- Every name is read before anything is written: a foreign type raises WRONGTYPE and is left alone.
local holders = redis.call('ZCARD', GRANTS)
local queued = redis.call('ZCARD', QUEUE)
local waiting = redis.call('ZCARD', WAITERS)
local saved = redis.call('HMGET', RECORDS, 'last', 'mode', 'span', ME)

local full = word == 'full'
local last, held, span = 0, false, 0
local saved_last, saved_span
-- The grant in the word, and its session.
local owner, alone, owner_pushes
local found, more = false, false

-- tostring() loses digits above 10^14, and Redis takes three times as long for a number as for its text.
local function number(n) return string.format('%d', n) end

local function parse(text)
  local record = { pushes = string.sub(text, 1, 1), queued = {} }
  for whole, mode, from, to, token, epoch in string.gmatch(text, '(([rw])(%d+)%-(%d+)@?(%d*)~?(%d*))') do
    local range = { text = whole, mode = mode, from = tonumber(from), to = tonumber(to) }
    if token == '' then
      record.queued[#record.queued + 1] = range
    else
      range.token, range.epoch = tonumber(token), tonumber(epoch)
      record.grant = range
    end
  end
  record.waits = #record.queued > 0
  return record
end

-- Code that changes a range sets `range.text` to nil.
local function show(range)
  if not range.text then
    range.text = range.token
        and string.format('%s%d-%d@%d~%d', range.mode, range.from, range.to, range.token, range.epoch)
      or string.format('%s%d-%d', range.mode, range.from, range.to)
  end
  return range.text
end

local function place_of(session, range) return range.place or session .. ' ' .. number(range.from) end

-- The records that this call has looked at. `settle` writes the records that are `changed`.
local records = {}

local function record_of(session)
  local record = records[session]
  if not record then
    local text
    if session == ME then text = saved[4] else text = redis.call('HGET', RECORDS, session) end
    record = text and parse(text) or { pushes = '-', queued = {} }
    records[session] = record
  end
  return record
end

if full then
  last, held, span = tonumber(saved[1]) or 0, saved[2], tonumber(saved[3]) or 0
  saved_last, saved_span = last, span
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

-- The rest of the lease in the word, in ms: at most the longest lease, also if the clock was set back or the word has
-- no TTL.
local function alone_left()
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > span then return span end
  return left
end

-- Writes the word with a grant and a lease from now. The caller sees to it that the lease ends after the last token,
-- which the word must outlive.
local function put_alone(range, ms)
  local text = ME .. ' ' .. show(range) .. ' ' .. span .. ' ' .. owner_pushes
  redis.call('SET', KEYS[1], text, 'PX', number(ms))
end

-- A full memory allows this write, and after this write all writes of the call. Sessions that hold or wait begin with
-- this write. A newcomer does not, and so is refused before anything is written.
local function may_write() redis.call('HDEL', RECORDS, '') end

-- The keys 2 to 5 that this call has made, which have no TTL yet.
local made = { [5] = full and not saved[1] }
-- For how long the whole state is needed, in ms, as far as this call knows.
local needed = 0

-- Notes that a lease of this length was set.
local function keep(ms)
  needed, span = math.max(needed, ms), math.max(span, ms)
end

-- Replaces the word by the full state.
local function open()
  if full then return end
  -- Remains of a word that was evicted or deleted. (Not always sent: after an allowed write a full memory allows all
  -- writes, also a newcomer's.)
  if holders + queued + waiting > 0 or saved[1] then redis.call('DEL', GRANTS, QUEUE, WAITERS, RECORDS) end
  holders, queued, waiting, full = 0, 0, 0, true
  saved, records = { false, false, false, false }, {}
  made = { false, true, true, true, true }
  local left = 0
  if owner then
    left = alone_left()
    holders, held = 1, alone.mode
    redis.call('ZADD', GRANTS, number(now + left * 1000), owner)
    records[owner] = { pushes = owner_pushes, grant = alone, queued = {}, changed = true }
  end
  redis.call('SET', KEYS[1], 'full', 'PX', number(left + 2))
end

-- No session holds or waits. The floor for tokens stays for exactly as long as the server's clock shows less, since
-- keys expire by the same clock.
local function close()
  redis.call('DEL', GRANTS, QUEUE, WAITERS, RECORDS)
  local ms = math.ceil(math.max(last - now, 0) / 1000) + 2
  local set = redis.pcall('SET', KEYS[1], 'free ' .. number(last), 'PX', number(ms))
  -- A full memory refuses a SET, never a DEL.
  if set.err then redis.call('DEL', KEYS[1]) end
  full, alone = false, nil
end

local function end_grant(session, record)
  holders = holders - redis.call('ZREM', GRANTS, session)
  record.grant, record.changed = nil, true
end

-- The place-th range of a session leaves the queue.
local function leave_queue(session, record, place)
  local range = table.remove(record.queued, place)
  queued = queued - redis.call('ZREM', QUEUE, place_of(session, range))
  record.changed = true
  return range
end

-- A range in the queue begins later from now on.
local function cut(session, record, range, from)
  local member = place_of(session, range)
  local place = redis.call('ZSCORE', QUEUE, member)
  redis.call('ZREM', QUEUE, member)
  range.from, range.text, range.place = from, nil, nil
  redis.call('ZADD', QUEUE, place, place_of(session, range))
  made[3], record.changed = true, true
end

-- The tickets of a grant below `from` are done.
local function without(grant, from)
  grant.token = grant.token + from - grant.from
  grant.from, grant.text = from, nil
end

-- The token of a grant's first ticket when the grant grows by tickets from `from` on. Only these get new tokens, so
-- the last token is not ahead of the clock by more than a grant has tickets. If the clock is behind the last token, or
-- tickets were skipped, the tokens of the others become greater too, never smaller.
local function grown_token(grant, from)
  return math.max(grant.token, math.max(last + 1, now) - (from - grant.from))
end

-- Ends leases that are over. Cuts leases that are longer than the longest lease: the clock was set back. Returns how
-- many leases live.
local function mend(leases, count, furthest, forget)
  if redis.call('ZCOUNT', leases, '(' .. clock, furthest) == count then return count end
  local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', clock, 'LIMIT', '0', number(BATCH))
  if #dead > 0 then redis.call('ZREM', leases, unpack(dead)) end
  for _, session in ipairs(dead) do forget(session, record_of(session)) end
  local odd = redis.call('ZRANGEBYSCORE', leases, '(' .. furthest, '+inf', 'LIMIT', '0', number(BATCH))
  for _, session in ipairs(odd) do
    -- ZREM first: a full memory does not refuse it.
    redis.call('ZREM', leases, session)
    redis.call('ZADD', leases, furthest, session)
    made[leases == GRANTS and 2 or 4] = true
  end
  more = more or #dead == BATCH
  return redis.call('ZCOUNT', leases, '(' .. clock, '+inf')
end

local function repair()
  local furthest = number(now + span * 1000)
  if holders > 0 then
    holders = mend(GRANTS, holders, furthest, function(_, record) record.grant, record.changed = nil, true end)
  end
  if queued > 0 then
    mend(WAITERS, waiting, furthest, function(session, record)
      while #record.queued > 0 do leave_queue(session, record, #record.queued) end
    end)
  end
end

local function fits(mode) return holders == 0 or (mode == 'r' and held == 'r') end

-- Notes the session's new or changed grant.
local function put(session, record, lease_end)
  local grant = record.grant
  last = grant.token + grant.to - grant.from
  held = grant.mode
  if redis.call('ZADD', GRANTS, number(lease_end), session) == 1 then
    made[2] = made[2] or holders == 0
    holders = holders + 1
  end
  record.changed = true
end

-- When the lease of a session's grant ends.
local function lease_end_of(session) return tonumber(redis.call('ZSCORE', GRANTS, session) or 0) end

local function publish(session, message)
  local heard = redis.pcall('PUBLISH', 'redis-lock:' .. session, KEYS[1] .. ' ' .. message)
  -- An ACL may refuse the channel. The session's heartbeat then shows the grant.
  return type(heard) == 'table' and 1 or heard
end

-- Gives the lock to the head of the queue, and to all ranges behind that may hold beside the head. A session that does
-- not hear the push keeps its place and is passed over: the connection is gone. Returns whether all ranges in the queue
-- are deaf.
local function serve()
  local passed_over, deaf = 0, {}
  for _ = 1, BATCH do
    if queued <= passed_over then return passed_over > 0 end
    -- Beside a writer no other session holds.
    if not fits('r') then return false end
    local index = number(passed_over)
    local head = redis.call('ZRANGE', QUEUE, index, index)[1]
    local session, from = string.match(head, '^(%x+) (%d+)$')
    local record = record_of(session)
    from = tonumber(from)
    local place = 1
    while record.queued[place] and record.queued[place].from ~= from do place = place + 1 end
    local range = record.queued[place]
    local lease_end = tonumber(redis.call('ZSCORE', WAITERS, session) or 0)
    if not range then
      queued = queued - redis.call('ZREM', QUEUE, head)
    elseif lease_end <= now then
      leave_queue(session, record, place)
    elseif not fits(range.mode) then
      return false
    else
      local grant = { mode = range.mode, from = range.from, to = range.to, epoch = 0 }
      grant.token = math.max(last + 1, now)
      local before = record.grant
      if before then
        grant.token = grown_token(before, range.from)
        grant.from, grant.epoch = before.from, before.epoch
        lease_end = math.max(lease_end, lease_end_of(session))
      end
      local heard = not deaf[session]
      if heard and session ~= ME and record.pushes ~= '-' then
        heard = publish(session, show(grant)) > 0 or record.pushes ~= 'p'
      end
      if heard then
        range.place = head
        leave_queue(session, record, place)
        record.grant = grant
        put(session, record, lease_end)
      else
        deaf[session] = true
        passed_over = passed_over + 1
      end
    end
  end
  more = true
  return false
end

-- Begins this session's waiter lease anew, if the session has a place in the queue.
local function stay_alive(record)
  if #record.queued == 0 or record.is_alive then return end
  redis.call('ZADD', WAITERS, number(now + LEASE * 1000), ME)
  made[4], record.waits, record.is_alive = true, true, true
  keep(LEASE)
end

-- This session's tickets below `first` are done.
local function done_below(record, first)
  local grant = record.grant
  if grant and grant.to < first then
    end_grant(ME, record)
  elseif grant and grant.from < first then
    without(grant, first)
    record.changed = true
  end
  for i = #record.queued, 1, -1 do
    local range = record.queued[i]
    if range.to < first then
      leave_queue(ME, record, i)
    elseif range.from < first then
      cut(ME, record, range, first)
    end
  end
end

-- Writes the records that have changed. A session without a place in the queue has no waiter lease.
local function write()
  local fields = {}
  if last ~= saved_last then fields = { 'last', number(last) } end
  if held and saved[2] ~= held then
    fields[#fields + 1], fields[#fields + 2] = 'mode', held
  end
  if span ~= saved_span then
    fields[#fields + 1], fields[#fields + 2] = 'span', number(span)
  end
  for session, record in pairs(records) do
    if record.waits and #record.queued == 0 then redis.call('ZREM', WAITERS, session) end
    if record.changed and not record.grant and #record.queued == 0 then
      redis.call('HDEL', RECORDS, session)
    elseif record.changed then
      local texts = { record.pushes }
      if record.grant then texts[2] = show(record.grant) end
      for _, range in ipairs(record.queued) do texts[#texts + 1] = show(range) end
      fields[#fields + 1], fields[#fields + 2] = session, table.concat(texts, ' ')
    end
  end
  if #fields > 0 then redis.call('HSET', RECORDS, unpack(fields)) end
end

-- The sessions whose leases end last.
local latest

-- Writes the changes. Keeps the state for as long as a session may rely on it, and not much longer: when all sessions
-- are dead, nothing is to be left.
local function settle()
  if holders == 0 and queued == 0 then return close() end
  write()
  latest = redis.call('ZREVRANGE', GRANTS, '0', '1', 'WITHSCORES')
  local left = redis.call('PTTL', KEYS[1])
  local ms = math.max(left, math.ceil(math.max(needed, (last - now) / 1000) + 2))
  local longest = math.max(now, last, tonumber(latest[2] or 0))
  if ms > math.ceil((longest - now) / 1000) + 2 + most_spare then
    longest = math.max(longest, tonumber(redis.call('ZREVRANGE', WAITERS, '0', '0', 'WITHSCORES')[2] or 0))
    local enough = math.ceil((longest - now) / 1000) + 2
    if ms > enough + most_spare then ms = enough end
  end
  for i = 1, 5 do
    if left ~= ms or made[i] then redis.call('PEXPIRE', KEYS[i], number(ms)) end
  end
end

-- '<now> <place> <ms until all leases of other sessions end> <flags>' and this session's ranges, the grant with '+<ms
-- left>'.
-- Flags: 'f' found, 'm' more to do, '-' none.
local function view()
  local texts = { clock, 0, 0, '-' }
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
  local mine = latest[1] == ME and 2 or (latest[3] == ME and 4)
  local other = tonumber(latest[mine == 2 and 4 or 2] or 0)
  texts[3] = left(other)
  if record.grant then
    local ms = left(mine and tonumber(latest[mine]) or lease_end_of(ME))
    if ms > 0 then texts[#texts + 1] = show(record.grant) .. '+' .. ms end
  end
  for i, range in ipairs(record.queued) do
    if i == 1 then texts[2] = redis.call('ZRANK', QUEUE, place_of(ME, range)) end
    texts[#texts + 1] = show(range)
  end
  return table.concat(texts, ' ')
end
