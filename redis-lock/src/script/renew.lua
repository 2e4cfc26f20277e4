-- Sets (never adds to) the lease of a holder. Creates nothing: what is gone stays gone.
--
-- KEYS     see book.lua
-- ARGV 1   id
--      2   ttl, ms
-- Returns  1 renewed | 0 gone

local GATE, id, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gate = redis.call('GET', GATE)

local function number(n) return string.format('%.0f', n) end

local prefix = 'W ' .. id .. ' '
if gate and string.sub(gate, 1, #prefix) == prefix
    and tonumber(string.match(gate, '%d+', #prefix + 1)) <= now then
  return redis.call('PEXPIRE', GATE, ttl)
end

--@book

-- A sole writer whose token is ahead of the clock goes on in the book (see acquire.lua).
if not open and owner ~= id then return 0 end
open_book()
repair()
grant()

local gone = not alive(HOLDERS, id)
keep(gone and 0 or ttl)
if gone then return 0 end
redis.call('ZADD', HOLDERS, now + ttl * 1000, id)
if ttl > span then redis.call('HSET', RECORDS, 'span', ttl) end
return 1
