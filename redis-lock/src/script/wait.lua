-- Asks for all who wait for the lock in one process: who has a place keeps it and has its waiter lease
-- renewed, who has none joins the line, in the order given; and who has been granted the lock is told so,
-- and has a claim that lasts as long. Idempotent by id, as acquire is.
--
-- KEYS     see book.lua
-- ARGV 1   waiter lease, ms
--      2   channel of the process, see acquire.lua
--      and for each that waits: id, mode 'r' or 'w'
-- Returns  {place from 0 of the first that still waits or -1, ms until the holders' leases end,
--          id, token of each that holds ...}

local GATE, lease, channel = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gate = redis.call('GET', GATE)

-- tostring() loses digits above 10^14.
local function number(n) return string.format('%.0f', n) end

--@book

open_book()
repair()
grant()

local deadline = number(now + lease * 1000)
local places, leases, claims, records = {}, {}, {}, {}
local newest = redis.call('ZREVRANGE', QUEUE, 0, 0, 'WITHSCORES')[2]
local ticket = tonumber(newest) or 0
local waits = false
for i = 3, #ARGV, 2 do
  local id, mode = ARGV[i], ARGV[i + 1]
  local claim = alive(HOLDERS, id)
  if claim then
    if claim < now + lease * 1000 then
      claims[#claims + 1] = deadline
      claims[#claims + 1] = id
    end
    waits = true
  else
    if redis.call('ZSCORE', QUEUE, id) then
      waits = true
    else
      ticket = ticket + 1
      places[#places + 1] = ticket
      places[#places + 1] = id
      records[#records + 1] = id
      records[#records + 1] = mode .. '0 ' .. channel
    end
    leases[#leases + 1] = deadline
    leases[#leases + 1] = id
  end
end
-- Who waits already must not be stopped by a full memory: before all else a write that it does not refuse.
if waits then keep(lease) end
if #places > 0 then
  redis.call('ZADD', QUEUE, unpack(places))
  redis.call('HSET', RECORDS, unpack(records))
  queued = queued + #places / 2
end
if #leases > 0 then redis.call('ZADD', WAITERS, unpack(leases)) end
if #claims > 0 then redis.call('ZADD', HOLDERS, unpack(claims)) end
if lease > span then
  span = lease
  redis.call('HSET', RECORDS, 'span', span)
end
if #places > 0 then grant() end
keep(lease)

local latest = redis.call('ZREVRANGE', HOLDERS, 0, 0, 'WITHSCORES')[2]
local reply = { -1, math.ceil(math.max((tonumber(latest) or now) - now, 0) / 1000) }
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  if alive(HOLDERS, id) then
    reply[#reply + 1] = id
    reply[#reply + 1] = string.match(redis.call('HGET', RECORDS, id) or '', '^[rw](%d+) ')
  elseif reply[1] < 0 then
    reply[1] = redis.call('ZRANK', QUEUE, id) or -1
  end
end
return reply
