-- Opens the full state, and ends what is over. Pasted into each script at the `--@open` line. (Pasted and not a
-- function, as `settle.lua`, since in Lua each function costs time whenever a script runs.)

-- Replaces the word.
if not full then
  -- Remains of a word that was evicted or deleted. (Not always sent: after an allowed write a full memory allows all
  -- writes, also a newcomer's.)
  if holders + queued + waiting > 0 or saved[1] then redis.call('DEL', GRANTS, QUEUE, WAITERS, RECORDS) end
  holders, queued, waiting, full = 0, 0, 0, true
  saved, records = { false, false, false, false }, {}
  made = { false, true, true, true, true }
  local left = 0
  if owner then
    left = alone_left()
    holders, held = 1, alone.mode
    redis.call('ZADD', GRANTS, number(now + left * 1000), owner)
    records[owner] = { pushes = owner_pushes, grant = alone, ranges = '', changed = true }
  end
  redis.call('SET', KEYS[1], 'full', 'PX', number(left + 2))
end

local furthest = number(now + span * 1000)
local all_hold = holders == 0 or redis.call('ZCOUNT', GRANTS, '(' .. clock, furthest) == holders
local all_wait = queued == 0 or redis.call('ZCOUNT', WAITERS, '(' .. clock, furthest) == waiting
if not all_hold or not all_wait then
  -- Ends leases that are over. Cuts leases that are longer than the longest lease: the clock was set back. Returns the
  -- sessions whose leases are over, and how many leases live.
  local function mend(leases)
    local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', clock, 'LIMIT', '0', number(BATCH))
    if #dead > 0 then redis.call('ZREM', leases, unpack(dead)) end
    local odd = redis.call('ZRANGEBYSCORE', leases, '(' .. furthest, '+inf', 'LIMIT', '0', number(BATCH))
    for _, session in ipairs(odd) do
      -- ZREM first: a full memory does not refuse it.
      redis.call('ZREM', leases, session)
      redis.call('ZADD', leases, furthest, session)
      made[leases == GRANTS and 2 or 4] = true
    end
    more = more or #dead == BATCH
    return dead, redis.call('ZCOUNT', leases, '(' .. clock, '+inf')
  end

  local dead
  if not all_hold then
    dead, holders = mend(GRANTS)
    for _, session in ipairs(dead) do
      local record = record_of(session)
      record.grant, record.changed = nil, true
    end
  end
  if not all_wait then
    dead, waiting = mend(WAITERS)
    for _, session in ipairs(dead) do
      local record = record_of(session)
      for from in string.gmatch(record.ranges, ' [rw](%d+)') do
        queued = queued - redis.call('ZREM', QUEUE, session .. ' ' .. from)
      end
      record.ranges, record.changed = '', true
    end
  end
end

local me = record_of(ME)
