-- Sets (never adds to) the lease of a holder. Creates nothing: what is gone stays gone.
--
-- KEYS     see book.lua
-- ARGV 1   id
--      2   ttl, ms
--      3   what those behind it in its run are to have at the least, ms
--      and their ids
-- Returns  1 renewed | 0 gone

local GATE, id, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
local behind = tonumber(ARGV[3] or 0)
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
keep(gone and 0 or math.max(ttl, behind))
if gone then return 0 end
redis.call('ZADD', HOLDERS, now + ttl * 1000, id)
-- Those behind it may have been promised more, or have left.
local leases, deadline = {}, now + behind * 1000
for i = 4, #ARGV do
  local its = redis.call('ZSCORE', HOLDERS, ARGV[i])
  if its and tonumber(its) < deadline then
    leases[#leases + 1] = deadline
    leases[#leases + 1] = ARGV[i]
  end
end
if #leases > 0 then redis.call('ZADD', HOLDERS, unpack(leases)) end
if math.max(ttl, behind) > span then redis.call('HSET', RECORDS, 'span', math.max(ttl, behind)) end
return 1
