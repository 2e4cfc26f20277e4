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

-- A grant from its text, and the parts of that.
local function grant_of(text, mode, from, to, token, epoch)
  local grant = { text = text, mode = mode, from = tonumber(from), to = tonumber(to) }
  grant.token, grant.epoch = tonumber(token), tonumber(epoch)
  return grant
end

-- The text of a grant. Code that changes a grant sets `grant.text` to nil.
local function show(grant)
  grant.text = grant.text
    or string.format('%s%d-%d@%d~%d', grant.mode, grant.from, grant.to, grant.token, grant.epoch)
  return grant.text
end

-- A range in the queue. `from` and `to` are texts.
local function range_of(session, mode, from, to)
  return {
    mode = mode,
    from = tonumber(from),
    to = tonumber(to),
    text = ' ' .. mode .. from .. '-' .. to,
    place = session .. ' ' .. from,
  }
end

local function first_range(session, record)
  local mode, from, to = string.match(record.ranges, '^ ([rw])(%d+)%-(%d+)')
  return mode and range_of(session, mode, from, to)
end

-- Puts a text in the place of a range.
local function replace(record, range, text)
  local first, final = string.find(record.ranges, range.text, 1, true)
  record.ranges = string.sub(record.ranges, 1, first - 1) .. text .. string.sub(record.ranges, final + 1)
  record.changed = true
end

-- The records that this call has looked at. `settle.lua` writes the records that are `changed`.
local records = {}

-- A record keeps its ranges in the queue as text, each with a space before it: a session may have thousands of ranges,
-- and a call looks at one or two.
local function record_of(session)
  local record = records[session]
  if record then return record end
  local text
  if session == ME then text = saved[4] else text = redis.call('HGET', RECORDS, session) end
  text = text or '-'
  local whole, mode, from, to, token, epoch, ranges =
    string.match(text, '^. (([rw])(%d+)%-(%d+)@(%d+)~(%d+))(.*)$')
  record = { pushes = string.sub(text, 1, 1), ranges = ranges or string.sub(text, 2) }
  if whole then record.grant = grant_of(whole, mode, from, to, token, epoch) end
  record.waits = record.ranges ~= ''
  records[session] = record
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
    local session, text, mode, from, to, token, epoch, longest, pushes =
      string.match(word, '^(%x+) (([rw])(%d+)%-(%d+)@(%d+)~(%d+)) (%d+) ([pc-])$')
    if not session then
      return redis.error_reply('FOREIGN the value at ' .. KEYS[1] .. ' is not a lock')
    end
    owner, owner_pushes, span = session, pushes, tonumber(longest)
    alone = grant_of(text, mode, from, to, token, epoch)
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

local function leave_queue(record, range)
  queued = queued - redis.call('ZREM', QUEUE, range.place)
  replace(record, range, '')
end

-- A range in the queue begins later from now on.
local function cut(session, record, range, from)
  local order = redis.call('ZSCORE', QUEUE, range.place)
  redis.call('ZREM', QUEUE, range.place)
  local rest = range_of(session, range.mode, number(from), number(range.to))
  redis.call('ZADD', QUEUE, order, rest.place)
  replace(record, range, rest.text)
  made[3] = true
end

-- The tickets of a grant below `from` are done.
local function without(grant, from)
  grant.token = grant.token + from - grant.from
  grant.from, grant.text = from, nil
end

-- The token of a grant's first ticket when the grant grows by tickets from `from` on. The new tickets' tokens are above
-- all before, and not below the clock. The others' are new as well if another session has been given tokens since; else
-- they stay, or become greater, so that the last token is not ahead of the clock for long.
local function grown_token(grant, from)
  local is_last = grant.token + grant.to - grant.from == last
  return math.max(is_last and grant.token or last + 1, now - (from - grant.from))
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
    local index = passed_over == 0 and '0' or number(passed_over)
    local head = redis.call('ZRANGE', QUEUE, index, index)[1]
    local session, from = string.match(head, '^(%x+) (%d+)$')
    local record = record_of(session)
    local mode, to = string.match(record.ranges, ' ([rw])' .. from .. '%-(%d+)')
    local range = mode and range_of(session, mode, from, to)
    local lease_end = tonumber(redis.call('ZSCORE', WAITERS, session) or 0)
    if not range then
      queued = queued - redis.call('ZREM', QUEUE, head)
    elseif lease_end <= now then
      leave_queue(record, range)
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
        leave_queue(record, range)
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
  if record.ranges == '' or record.is_alive then return end
  redis.call('ZADD', WAITERS, number(now + LEASE * 1000), ME)
  made[4] = made[4] or waiting == 0
  record.waits, record.is_alive = true, true
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
  local range = first_range(ME, record)
  while range and range.from < first do
    if range.to < first then
      leave_queue(record, range)
    else
      cut(ME, record, range, first)
    end
    range = first_range(ME, record)
  end
end

-- The sessions whose leases end last.
local latest

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
  local record = record_of(ME)
  local mine = latest[1] == ME and 2 or (latest[3] == ME and 4)
  local other = tonumber(latest[mine == 2 and 4 or 2] or 0)
  texts[3] = math.ceil(math.max(other - now, 0) / 1000)
  if record.grant then
    local lease_end = mine and tonumber(latest[mine]) or lease_end_of(ME)
    local ms = math.ceil((lease_end - now) / 1000)
    if ms > 0 then texts[#texts + 1] = show(record.grant) .. '+' .. ms end
  end
  local range = first_range(ME, record)
  if range then texts[2] = redis.call('ZRANK', QUEUE, range.place) end
  return table.concat(texts, ' ') .. record.ranges
end
