-- Tickets of a session are done: ends the grant, or withdraws a range, and gives the lock to the next session. If a
-- grant or range has more tickets, the rest stays. A second call finds nothing and changes nothing.
--
-- KEYS     see state.lua
-- ARGV 1   session      2   its pushes, see state.lua
--      3   first ticket      4   last ticket
--      5   how long to keep sessions out although no session holds, ms (`min_hold`)      6   waiter lease, ms
--      7   the word if no command has changed the lock since the grant      8   the new word then, 'free <token>'
--      9   the new word's end: the token, in ms
-- Returns  1: the word was ARGV 7; else see `view` in state.lua

local word = redis.call('GET', KEYS[1])
if word and word == ARGV[7] then
  -- Mostly ARGV 9 is past, and the SET is a DEL that needs no TIME. If the clock shows less, for example since it was
  -- set back, the new word keeps the floor for tokens. (Redis before 6.2 does not know PXAT.)
  local free = redis.pcall('SET', KEYS[1], ARGV[8], 'PXAT', ARGV[9])
  if not free.err then return 1 end
end
local ME, FROM, TO, KEEP_OUT, LEASE =
  ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local clock = time[1] .. string.sub('00000' .. time[2], -6)
local now = tonumber(clock)

--@state

-- Whether the tickets are the first tickets of a grant, or all.
local function starts(grant)
  return FROM <= grant.from and TO >= grant.from
end

if not full then
  local left = owner == ME and alone_left() or 0
  if left <= 0 then return view() end
  if KEEP_OUT == 0 then
    found = starts(alone)
    if found and TO >= alone.to then
      close()
    elseif found then
      may_write()
      without(alone, TO + 1)
      put_alone(alone, left)
    end
    return view()
  end
end
may_write()
--@open
me.pushes = ARGV[2]
local grant = me.grant
if grant and starts(grant) then
  found = true
  if TO >= grant.to then
    end_grant(ME, me)
  else
    without(grant, TO + 1)
    me.changed = true
  end
  if KEEP_OUT > 0 then
    most_spare = 1000
    local over = '!' .. ME
    local lease_end = math.max(now + KEEP_OUT * 1000, lease_end_of(over))
    holders = holders + redis.call('ZADD', GRANTS, number(lease_end), over)
    made[2] = true
    keep(KEEP_OUT)
  end
end
for mode, from, to in string.gmatch(me.ranges, ' ([rw])(%d+)%-(%d+)') do
  local range = range_of(ME, mode, from, to)
  if range.from > TO then break end
  if range.from >= FROM and range.to <= TO then
    leave_queue(me, range)
    found = true
  elseif range.from >= FROM then
    cut(ME, me, range, TO + 1)
  end
end
local before = last
serve()
-- If only a `min_hold` keeps out the head of the queue, no release will come: tell the head to ask when the `min_hold`
-- ends.
if queued > 0 and holders > 0 and last == before then
  local session = string.match(redis.call('ZRANGE', QUEUE, '0', '0')[1], '^%x+')
  local holds = false
  for _, holder in ipairs(redis.call('ZREVRANGE', GRANTS, '0', number(BATCH))) do
    holds = holds or string.sub(holder, 1, 1) ~= '!'
  end
  if not holds and session ~= ME and record_of(session).pushes ~= '-' then publish(session, 'sooner') end
end
--@settle
