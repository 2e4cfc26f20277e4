-- Sets (never adds to) the lease of a holder. Creates nothing: what is gone stays gone.
--
-- KEYS     see book.lua
-- ARGV 1   id
--      2   ttl, ms
--      and the ids of its run that are to have the same lease
-- Returns  1 renewed | 0 gone

local GATE, id, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gate = redis.call('GET', GATE)

local function number(n) return string.format('%.0f', n) end

local prefix = 'W ' .. id .. ' '
if gate and string.sub(gate, 1, #prefix) == prefix then
  local token, longest = string.match(gate, '(%d+) (%d+)$', #prefix + 1)
  if token and tonumber(token) <= now and ttl <= tonumber(longest) then
    return redis.call('PEXPIRE', GATE, ttl)
  end
end

--@book

-- A sole writer goes on in the book if its token is ahead of the clock (see acquire.lua), or if its lease
-- is to be longer than its gate says.
if not open then
  if owner ~= id then return 0 end
  -- Before the book: a write that a full memory does not refuse.
  redis.call('PEXPIRE', GATE, ttl)
end
open_book()
repair()
grant()

local gone = not alive(HOLDERS, id)
keep(gone and 0 or ttl)
if gone then return 0 end
local leases = { now + ttl * 1000, id }
for i = 3, #ARGV do
  leases[#leases + 1] = leases[1]
  leases[#leases + 1] = ARGV[i]
end
redis.call('ZADD', HOLDERS, unpack(leases))
if ttl > span then redis.call('HSET', RECORDS, 'span', ttl) end
return 1
