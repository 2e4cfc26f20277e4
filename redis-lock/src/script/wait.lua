-- The heartbeat of all waiters of one lock and process. A queued waiter keeps its place and has its waiter
-- lease renewed; a granted waiter is told so, and its claim lasts as long. A new waiter joins the queue, in
-- the order given. A waiter that an earlier reply has told of is never created again: this command may be
-- executed after that waiter was granted the lock and has given it back. Idempotent by id, as acquire is.
--
-- KEYS     see book.lua
-- ARGV 1   waiter lease, ms
--      2   channel of the process, see acquire.lua
--      and for each waiter: id; mode 'r' or 'w' of a new one, '=' of one that an earlier reply told of
-- Returns  {place from 0 of the first of them that had one, or has one now, or -1,
--          ms until the holders' leases end, a token that all later grants are above,
--          id, token of each that holds, or id, -1 of each that is not new and that Redis does not know ...}

local GATE, lease, channel = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gate = redis.call('GET', GATE)

-- tostring() loses digits above 10^14.
local function number(n) return string.format('%.0f', n) end

--@book

local is_new, unknown = false, {}
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '=' then unknown[ARGV[i]] = true else is_new = true end
end
local function report(reply)
  for id in pairs(unknown) do
    reply[#reply + 1] = id
    reply[#reply + 1] = -1
  end
  return reply
end
-- Waiters that were told of were in the book: without one there is nothing to keep.
if not open and not is_new then return report({ -1, 0, math.max(last, now) }) end

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
    unknown[id] = nil
    add(leases, deadline, id)
  else
    local claim = alive(HOLDERS, id)
    if claim then
      holding[#holding + 1] = id
      unknown[id] = nil
      if claim < deadline then add(claims, deadline, id) end
    elseif not unknown[id] then
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
if lease > span and (first or #holding > 0) then
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
    elseif not unknown[id] then
      first = first or id
    end
  end
end
if holders == 0 and queued == 0 then close_book() else keep((first or #holding > 0) and lease or 0) end

local latest = redis.call('ZREVRANGE', HOLDERS, 0, 0, 'WITHSCORES')[2]
local left = math.ceil(math.max((tonumber(latest) or now) - now, 0) / 1000)
local reply = { first and redis.call('ZRANK', QUEUE, first) or -1, left, math.max(last, now) }
for _, id in ipairs(holding) do
  add(reply, id, string.match(redis.call('HGET', RECORDS, id) or '', '^[rw](%d+) '))
end
return report(reply)
