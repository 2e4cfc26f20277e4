-- Sets the lease of the session's grant, if the grant has the given ticket. Of renewals that arrive out of order, the
-- highest epoch counts; within an epoch a renewal never shortens the lease. Creates nothing.
--
-- KEYS     see state.lua
-- ARGV 1   session      2   its pushes, see state.lua
--      3   ticket       4   ttl, ms      5   epoch      6   waiter lease, ms
-- Returns  see `view` in state.lua

local ME, TICKET, TTL, EPOCH, LEASE =
  ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local clock = time[1] .. string.sub('00000' .. time[2], -6)
local now = tonumber(clock)
local word = redis.call('GET', KEYS[1])

-- Most renewals: a session alone with the lock, and the same ttl as before.
if word and string.sub(word, 1, #ME + 1) == ME .. ' ' then
  local range, from, to, token, epoch, span =
    string.match(word, '^([rw](%d+)%-(%d+)@(%d+)~(%d+)) (%d+) ', #ME + 2)
  local last = token and tonumber(token) + to - from
  if last and last <= now and EPOCH == tonumber(epoch) and TTL <= tonumber(span)
    and TICKET >= tonumber(from) and TICKET <= tonumber(to) then
    local left = redis.call('PTTL', KEYS[1])
    if left > 0 and left <= TTL then
      redis.call('PEXPIRE', KEYS[1], ARGV[4])
      return clock .. ' 0 0 - ' .. range .. '+' .. ARGV[4]
    end
  end
end

--@state

if not full then
  if owner ~= ME then return view() end
  -- Renews a lease in the word. False: the full state is needed.
  local function renew_alone()
    local left = alone_left()
    if left <= 0 or TICKET < alone.from or TICKET > alone.to or EPOCH < alone.epoch then return true end
    local lease = EPOCH == alone.epoch and math.max(TTL, left) or TTL
    if last > now + lease * 1000 then return false end
    redis.call('PEXPIRE', KEYS[1], number(lease))
    if EPOCH > alone.epoch or TTL > span then
      alone.epoch, alone.text, span = EPOCH, nil, math.max(span, TTL)
      put_alone(alone, lease)
    end
    return true
  end

  if renew_alone() then return view() end
end
may_write()
--@open
me.pushes = ARGV[2]
stay_alive(me)
serve()
local grant = me.grant
if grant and TICKET >= grant.from and TICKET <= grant.to and EPOCH >= grant.epoch then
  local lease_end = now + TTL * 1000
  if EPOCH > grant.epoch then
    grant.epoch, grant.text, me.changed = EPOCH, nil, true
  else
    lease_end = math.max(lease_end, lease_end_of(ME))
  end
  redis.call('ZADD', GRANTS, number(lease_end), ME)
  keep(TTL)
end
--@settle
