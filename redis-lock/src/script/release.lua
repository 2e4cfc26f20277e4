-- Gives up whatever an id has, a hold or a place in the queue, and lets in who is next. A second call
-- finds nothing and changes nothing for anybody.
--
-- KEYS     see book.lua
-- ARGV 1   id
--      and the ids of others, of the same run, that are done as well
-- Returns  {1 held | 2 queued | 0 neither, ids of the waiters that were granted ...}

local GATE, id = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gate = redis.call('GET', GATE)

local function number(n) return string.format('%.0f', n) end

local prefix = 'W ' .. id .. ' '
if gate and string.sub(gate, 1, #prefix) == prefix then
  local token = string.match(gate, '%d+', #prefix + 1)
  local ms = math.ceil(math.max(tonumber(token) - now, 0) / 1000) + 2
  local floor = redis.pcall('SET', GATE, 'F ' .. token, 'PX', ms)
  -- A full memory refuses a SET, never a DEL.
  if floor.err then redis.call('DEL', GATE) end
  return { 1 }
end

--@book

if not open then return { 0 } end

-- Before the repair: that counts who is left, and only those who are alive.
local released = 0
if alive(HOLDERS, id) or #ARGV > 1 then
  released = alive(HOLDERS, id) and 1 or 0
  forget(HOLDERS, ARGV)
elseif alive(WAITERS, id) then
  released = 2
  forget(WAITERS, { id })
end

repair()
local granted = grant()
if holders == 0 and queued == 0 then close_book() else keep(0) end
return { released, unpack(granted) }
