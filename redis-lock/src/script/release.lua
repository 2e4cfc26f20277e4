-- Gives up whatever an id has, a hold or a place in the queue, and lets in who is next. A second call
-- finds nothing and changes nothing for anybody.
--
-- KEYS     see book.lua
-- ARGV 1   id
--      2   what its gate says if it is a sole writer, see book.lua
--      3   what the gate is to say then, 'F <token>'
--      4   and until when: the token, in ms
--      or, instead of these three, the ids of others, of the same run, that are done as well
-- Returns  {1 held | 2 queued | 0 neither, ids of the waiters that were granted ...}

local GATE, id = KEYS[1], ARGV[1]
local gate = redis.call('GET', GATE)
if gate and gate == ARGV[2] then
  -- Mostly that is past, and as good as a DEL, without asking for the time. As long as it is not, be it that
  -- the clock was set back, it keeps the floor for tokens. (Redis before 6.2 does not know PXAT.)
  local floor = redis.pcall('SET', GATE, ARGV[3], 'PXAT', ARGV[4])
  if not floor.err then return { 1 } end
end
local run = ARGV[2] and string.sub(ARGV[2], 1, 2) ~= 'W '
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

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
if alive(HOLDERS, id) then
  released = 1
elseif not run and alive(WAITERS, id) then
  released = 2
end
if released == 2 then
  forget(WAITERS, { id })
  waiting, queued = waiting - 1, queued - 1
elseif run or released == 1 then
  holders = holders - forget(HOLDERS, run and ARGV or { id })
end

repair()
local granted = grant()
if holders == 0 and queued == 0 then close_book() else keep(0) end
return { released, unpack(granted) }
