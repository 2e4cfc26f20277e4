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
local dead
if holders > 0 then
  dead, holders = mend(GRANTS, holders, furthest)
  for _, session in ipairs(dead) do
    local record = record_of(session)
    record.grant, record.changed = nil, true
  end
end
if queued > 0 then
  dead, waiting = mend(WAITERS, waiting, furthest)
  for _, session in ipairs(dead) do
    local record = record_of(session)
    for range in ranges_of(session, record) do
      queued = queued - redis.call('ZREM', QUEUE, range.place)
    end
    record.ranges, record.changed = '', true
  end
end

local me = record_of(ME)
