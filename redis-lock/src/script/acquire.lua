-- Takes the lock for an id, or a place in its queue. Idempotent: a holder is given its token again and
-- its full ttl, a waiter keeps its place and has its waiter lease renewed. A try (waiter lease 0) never
-- queues, never passes anybody in line, and gives up a place that the id has. Whose turn it is in a run
-- (see book.lua) only its process knows: to its members this says no more than that.
--
-- KEYS     see book.lua
-- ARGV 1   id, hexadecimal, of this one acquisition
--      2   mode: 'r' or 'w'
--      3   ttl, ms
--      4   waiter lease, ms; 0 = may not wait
--      5   channel of the process: '<id> <token>', and the ids of its run, are published there when a
--          waiter is granted; '' = none, and no runs
-- Returns  {1, token} held | {0, place from 0, ms until the holders' leases end} queued
--          | {-1, ms until the holders' leases end} busy | {2, token} one of a run

-- A free lock, which is what most are: as few calls and as little text as can be.
local GATE, id, mode = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local clock = time[1] .. string.sub('00000' .. time[2], -6)
local sole = 'W ' .. id .. ' ' .. clock .. ' ' .. ARGV[3]
if mode == 'w' then
  local taken = redis.pcall('SET', GATE, sole, 'NX', 'PX', ARGV[3])
  if taken and taken.ok then return { 1, clock } end
  -- A full memory refuses it even where it would set nothing: that must not stop who holds or waits
  -- already. Any other refusal is raised.
  if taken and not string.find(taken.err, 'OOM', 1, true) then
    redis.call('SET', GATE, sole, 'NX', 'PX', ARGV[3])
  end
end

local gate = redis.call('GET', GATE)
-- Free since less than a millisecond. (Clocks have sixteen digits until the year 2286.)
if mode == 'w' and gate and #gate == 18 and string.sub(gate, 1, 2) == 'F ' and string.sub(gate, 3) < clock then
  redis.call('SET', GATE, sole, 'PX', ARGV[3])
  return { 1, clock }
end

local now, ttl = tonumber(clock), tonumber(ARGV[3])
-- tostring() loses digits above 10^14.
local function number(n) return string.format('%.0f', n) end

--@book

local lease, channel = tonumber(ARGV[4]), ARGV[5]

if owner == id then
  -- Before the book: a write that a full memory does not refuse.
  redis.call('PEXPIRE', GATE, ttl)
  if last <= now and ttl <= owner_ttl then return { 1, last } end
end
if owner and owner ~= id and lease == 0 then
  local left, sound = owner_left()
  -- Else the book cuts it.
  if sound then return { -1, left } end
end
-- A token ahead of the clock needs the book, which outlives the lease until the clock has caught up.
if not open and not owner and mode == 'w' and last < now then
  redis.call('SET', GATE, sole, 'PX', ttl)
  return { 1, now }
end

-- Until when a holder can keep this waiter out, in ms from now.
local function left()
  local latest = redis.call('ZREVRANGE', HOLDERS, 0, 0, 'WITHSCORES')[2]
  return math.ceil(math.max((tonumber(latest) or now) - now, 0) / 1000)
end

open_book()
repair()
grant()

local record = redis.call('HGET', RECORDS, id)
local token = record and tonumber(string.match(record, '^[rw](%d+) ')) or 0
if token > 0 and alive(HOLDERS, id) then
  if held == 'w' and holders > 1 then
    keep(0)
    return { 2, token }
  end
  keep(ttl)
  redis.call('ZADD', HOLDERS, now + ttl * 1000, id)
  if ttl > span then redis.call('HSET', RECORDS, 'span', ttl) end
  return { 1, token }
end

if lease == 0 and redis.call('ZREM', QUEUE, id) == 1 then
  forget(WAITERS, { id })
  queued = queued - 1
  grant()
end

local free = queued == 0 and compatible(mode)
if lease == 0 and not free then
  keep(0)
  return { -1, left() }
end

local longest = math.max(span, ttl, lease)

if free then
  hold(id, mode, now + ttl * 1000, channel)
  redis.call('HSET', RECORDS, 'span', longest)
  keep(ttl)
  return { 1, last }
end

-- A full memory refuses newcomers (before any trace of them is there), not those who wait already.
if redis.call('ZSCORE', QUEUE, id) then
  keep(lease)
else
  local newest = redis.call('ZREVRANGE', QUEUE, 0, 0, 'WITHSCORES')[2]
  redis.call('ZADD', QUEUE, (tonumber(newest) or 0) + 1, id)
end
redis.call('ZADD', WAITERS, now + lease * 1000, id)
redis.call('HSET', RECORDS, id, mode .. '0 ' .. channel, 'span', longest)
made[3], made[4] = true, true
keep(lease)
return { 0, redis.call('ZRANK', QUEUE, id), left() }
