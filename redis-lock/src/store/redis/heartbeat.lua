-- A session is alive: its places in the queue last for one waiter lease. Creates nothing.
--
-- KEYS     see state.lua
-- ARGV 1   session      2   its pushes, see state.lua
--      3   all tickets of the session below this one are done      4   waiter lease, ms
--      5   '1': the session's grant is to last for a waiter lease, too
-- Returns  see `view` in state.lua

local ME, DONE_BELOW, LEASE = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local clock = time[1] .. string.sub('00000' .. time[2], -6)
local now = tonumber(clock)
local word = redis.call('GET', KEYS[1])

--@state

if not full then
  if owner ~= ME then return view() end
  local left = alone_left()
  if left <= 0 then return view() end
  if alone.to < DONE_BELOW then
    close()
    return view()
  end
  local keeps = ARGV[5] == '1' and left < LEASE
  if not keeps or LEASE <= span then
    if keeps then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
    return view()
  end
end
may_write()
--@open
me.pushes = ARGV[2]
done_below(me, DONE_BELOW)
stay_alive(me)
if ARGV[5] == '1' and me.grant and lease_end_of(ME) < now + LEASE * 1000 then
  redis.call('ZADD', GRANTS, number(now + LEASE * 1000), ME)
  keep(LEASE)
end
serve()
--@settle
