-- Tickets of a session want the lock: they get it, make the session's grant grow, or join the queue. The only script
-- that brings new tickets to the store. A ticket at or below the session's highest one changes nothing. Nothing is
-- done after the not-after, so that a command that the session gave up cannot be executed much later.
--
-- KEYS     see state.lua
-- ARGV 1   session, hexadecimal        2   its pushes, see state.lua
--      3   not-after: the server's clock, µs, or '0' for none known: always too late
--      4   all tickets of the session below this one are done
--      5   the lease of a grant that is made now, ms      6   waiter lease, ms
--      7   and so on: the wanted ranges in the order of tickets, as in state.lua; a '?' at the end: never queue
-- Returns  the clock alone: all was granted, and the token is the clock; '<clock> late'; else see `view` in state.lua

local ME, PUSHES, TTL, LEASE = ARGV[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local clock = time[1] .. string.sub('00000' .. time[2], -6)
-- Clocks have sixteen digits until the year 2286.
if #ARGV[3] < 16 or clock > ARGV[3] then return clock .. ' late' end

-- Most locks are free: as few calls and as little text as possible.
local alone_wanted = #ARGV == 7
local word
if alone_wanted then
  local want = ARGV[7]
  if string.sub(want, -1) == '?' then want = string.sub(want, 1, -2) end
  local text = ME .. ' ' .. want .. '@' .. clock .. '~0 ' .. ARGV[5] .. ' ' .. PUSHES
  local taken = redis.pcall('SET', KEYS[1], text, 'NX', 'PX', ARGV[5])
  if taken and taken.ok then return clock end
  -- A full memory refuses a SET that would set nothing, too: a session that holds or waits must go on. The second SET
  -- raises any other refusal.
  if taken and not string.find(taken.err, 'OOM', 1, true) then
    redis.call('SET', KEYS[1], text, 'NX', 'PX', ARGV[5])
  end
  word = redis.call('GET', KEYS[1])
  -- Free for less than a millisecond: the word with the floor for tokens is still there.
  if word and #word == 21 and string.sub(word, 1, 5) == 'free ' and string.sub(word, 6) < clock then
    redis.call('SET', KEYS[1], text, 'PX', ARGV[5])
    return clock
  end
else
  word = redis.call('GET', KEYS[1])
end

local now = tonumber(clock)

--@state

local function want_of(text)
  local mode, from, to, try = string.match(text, '^([rw])(%d+)%-(%d+)(%??)$')
  return { mode = mode, from = tonumber(from), to = tonumber(to), is_try = try == '?' }
end

-- The lease of a grant that grows. A reader that joins readers holds at once, and has a whole lease; a writer has its
-- turn later, and needs the waiter lease until then.
local function joined(want)
  return want.mode == 'r' and TTL or LEASE
end

-- The session's last range in the queue.
local function last_range(record)
  local mode, from, to = string.match(record.ranges, '^.* ([rw])(%d+)%-(%d+)$')
  return mode and range_of(ME, mode, from, to)
end

local DONE_BELOW = tonumber(ARGV[4])

if alone_wanted and owner then
  -- Acquires for a session that is alone with the lock. False: the word is not enough, the full state is needed.
  local function acquire_alone()
    local want = want_of(ARGV[7])
    local left = owner == ME and alone_left() or 0
    if left <= 0 then return false end
    if DONE_BELOW > alone.to then
      if last >= now or want.to - want.from > TTL * 1000 then return false end
      alone = { mode = want.mode, from = want.from, to = want.to, token = now, epoch = 0 }
      span, owner_pushes = TTL, PUSHES
      put_alone(alone, TTL)
      return true
    end
    if want.to <= alone.to then return true end
    if want.mode ~= alone.mode or (want.is_try and want.mode == 'w') then return want.is_try end
    without(alone, math.max(alone.from, DONE_BELOW))
    local token = grown_token(alone, math.max(want.from, alone.to + 1))
    local lease = math.max(left, joined(want))
    if token + want.to - alone.from > now + lease * 1000 then return false end
    may_write()
    alone.to, alone.token, span = want.to, token, math.max(span, joined(want))
    put_alone(alone, lease)
    return true
  end

  if acquire_alone() then return view() end
end

local before = record_of(ME)
if owner == ME or before.grant or before.waits then may_write() end
--@open
me.pushes = PUSHES
done_below(me, DONE_BELOW)
stay_alive(me)
local all_are_deaf = serve()

for i = 7, #ARGV do
  local want = want_of(ARGV[i])
  local grant = me.grant
  local tail = last_range(me)
  want.from = math.max(want.from, (grant and grant.to or -1) + 1, (tail and tail.to or -1) + 1)
  local is_new = want.from <= want.to
  local is_try_to_write = want.is_try and want.mode == 'w'
  if is_new and grant and queued == 0 and grant.mode == want.mode and not is_try_to_write then
    grant.token = grown_token(grant, want.from)
    grant.to, grant.text = want.to, nil
    put(ME, me, math.max(lease_end_of(ME), now + joined(want) * 1000))
    keep(joined(want))
  elseif is_new and not grant and queued == 0 and fits(want.mode) then
    me.grant = { mode = want.mode, from = want.from, to = want.to, token = math.max(last + 1, now), epoch = 0 }
    put(ME, me, now + TTL * 1000)
    keep(TTL)
  elseif is_new and not want.is_try then
    local newest = redis.call('ZREVRANGE', QUEUE, '0', '0', 'WITHSCORES')
    local to = number(want.to)
    if tail and tail.mode == want.mode and newest[1] == tail.place then
      replace(me, tail, ' ' .. tail.mode .. number(tail.from) .. '-' .. to)
    else
      local range = range_of(ME, want.mode, number(want.from), to)
      redis.call('ZADD', QUEUE, number((tonumber(newest[2]) or 0) + 1), range.place)
      me.ranges, me.changed = me.ranges .. range.text, true
      made[3] = made[3] or queued == 0
      queued = queued + 1
    end
  end
end
stay_alive(me)
if all_are_deaf then serve() end
--@settle
