-- Asks for all who wait for the lock in one process: who has a place keeps it and has its waiter lease
-- renewed, who has none joins the line, in the order given; and who has been granted the lock is told so,
-- and has a claim that lasts as long. Idempotent by id, as acquire is.
--
-- KEYS     see book.lua
-- ARGV 1   waiter lease, ms
--      2   channel of the process, see acquire.lua
--      and for each that waits: id, mode 'r' or 'w'
-- Returns  {place from 0 of the first of them that had one, or has one now, or -1,
--          ms until the holders' leases end, a token that all later grants are above,
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

local deadline = now + lease * 1000
local places, leases, claims, records, holding = {}, {}, {}, {}, {}
local newest = redis.call('ZREVRANGE', QUEUE, 0, 0, 'WITHSCORES')[2]
local ticket = tonumber(newest) or 0
local first
local function add(list, a, b)
  list[#list + 1] = a
  list[#list + 1] = b
end
for i = 3, #ARGV, 2 do
  local id, mode = ARGV[i], ARGV[i + 1]
  if redis.call('ZSCORE', QUEUE, id) then
    first = first or id
    add(leases, deadline, id)
  else
    local claim = alive(HOLDERS, id)
    if claim then
      holding[#holding + 1] = id
      if claim < deadline then add(claims, deadline, id) end
    else
      ticket = ticket + 1
      add(places, ticket, id)
      add(records, id, mode .. '0 ' .. channel)
      add(leases, deadline, id)
    end
  end
end
-- Who waits already must not be stopped by a full memory: before all else a write that it does not refuse.
if first or #holding > 0 then keep(lease) end
if #places > 0 then
  redis.call('ZADD', QUEUE, unpack(places))
  redis.call('HSET', RECORDS, unpack(records))
  queued = queued + #places / 2
  first = first or places[2]
  made[3], made[4] = true, true
end
if #leases > 0 then redis.call('ZADD', WAITERS, unpack(leases)) end
if #claims > 0 then redis.call('ZADD', HOLDERS, unpack(claims)) end
if lease > span then
  span = lease
  redis.call('HSET', RECORDS, 'span', span)
end
if #places > 0 and #grant() > 0 then
  holding, first = {}, nil
  for i = 3, #ARGV, 2 do
    local id = ARGV[i]
    local claim = alive(HOLDERS, id)
    if claim then
      holding[#holding + 1] = id
      -- It may be one of a run whose head asked earlier.
      if claim < deadline then redis.call('ZADD', HOLDERS, deadline, id) end
    else
      first = first or id
    end
  end
end
keep(lease)

local latest = redis.call('ZREVRANGE', HOLDERS, 0, 0, 'WITHSCORES')[2]
local left = math.ceil(math.max((tonumber(latest) or now) - now, 0) / 1000)
local reply = { first and redis.call('ZRANK', QUEUE, first) or -1, left, math.max(last, now) }
for _, id in ipairs(holding) do
  add(reply, id, string.match(redis.call('HGET', RECORDS, id) or '', '^[rw](%d+) '))
end
return reply
