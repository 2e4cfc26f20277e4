-- The book: what a lock keeps once it is shared or waited for. Pasted into each script at its
-- `--@book` line, behind the part that needs no book.
--
-- Expects: gate (the value of KEYS[1] or false), now (server clock, µs), number (n -> exact digits).
-- KEYS of every script, all in one hash slot:
--   1 gate     string: 'W <id> <token> <longest lease, ms>' a sole writer, nobody in line
--                      'B' see the book      'F <token>' free, and no token up to this one again
--   2 holders  zset: id -> end of its lease (µs)
--   3 queue    zset: id -> ticket; the lowest is next
--   4 waiters  zset: id -> end of its waiter lease (µs)
--   5 records  hash: id -> mode, token (0 while waiting), ' ', wake channel
--              and 'last' the last token, 'held' the mode of the holders, 'span' the longest lease (ms)
-- Keys 2-5 count for nothing unless the gate says 'B'. All five expire together.

local HOLDERS, QUEUE, WAITERS, RECORDS = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- Work done for others in one call is bounded, so that no call stalls the server.
local BATCH = 100
-- The most that hold one after another on one grant (see run_behind).
local RUN = 64

-- Every name is read before anything is written: a foreign type raises WRONGTYPE and is left alone.
local holders = redis.call('ZCARD', HOLDERS)
local queued = redis.call('ZCARD', QUEUE)
local waiting = redis.call('ZCARD', WAITERS)
local saved = redis.call('HMGET', RECORDS, 'last', 'held', 'span')

local open = gate == 'B'
local last, held, span = 0, false, 0
local owner, owner_token, owner_ttl
if open then
  last, held, span = tonumber(saved[1]) or 0, saved[2], tonumber(saved[3]) or 0
elseif gate then
  local floor = string.match(gate, '^F (%d+)$')
  if not floor then
    owner, owner_token, owner_ttl = string.match(gate, '^W (%x+) (%d+) (%d+)$')
    if not owner then
      return redis.error_reply('FOREIGN the value at ' .. KEYS[1] .. ' is not a lock')
    end
    owner_ttl = tonumber(owner_ttl)
  end
  last = tonumber(floor or owner_token)
end

-- What a sole writer has left, in ms, and whether that is what its gate has left: more than its ttl
-- cannot be (a clock was set back), nor no end at all.
local function owner_left()
  local left = redis.call('PTTL', GATE)
  if left >= 0 and left <= owner_ttl then return left, true end
  return owner_ttl, false
end

-- Those of keys 2 to 5 that this call has made: they have no TTL yet.
local made = { [5] = open and not saved[1] }

-- Keeps the whole book for at least `ms`, and for as long as the clock could show less than the last
-- token. Never shortens it. Every path that wrote to the book ends (or, so as to be allowed when the
-- memory is full, begins) with it.
local function keep(ms)
  ms = math.ceil(math.max(ms, (last - now) / 1000) + 2)
  local left = redis.call('PTTL', GATE)
  for i = 1, 5 do
    -- The gate always: that is the write that is allowed.
    if i == 1 or left < ms or made[i] then redis.call('PEXPIRE', KEYS[i], math.max(left, ms)) end
  end
  made = {}
end

-- From the gate to the book: a sole writer becomes a holder like any other.
local function open_book()
  if open then return end
  -- Left behind by a gate that was evicted or deleted. (Not always sent: a write that a full memory
  -- allows would make it allow all that follow.)
  if holders + queued + waiting > 0 or saved[1] then redis.call('DEL', HOLDERS, QUEUE, WAITERS, RECORDS) end
  holders, queued, waiting, open = 0, 0, 0, true
  made = { false, true, true, true, true }
  local left = 0
  if owner then
    left = owner_left()
    holders, held, span = 1, 'w', owner_ttl
    redis.call('ZADD', HOLDERS, now + left * 1000, owner)
    redis.call('HSET', RECORDS, owner, 'w' .. owner_token .. ' ',
      'last', owner_token, 'held', 'w', 'span', owner_ttl)
  end
  redis.call('SET', GATE, 'B', 'PX', left + 2)
end

-- Back to the gate: nobody holds, nobody waits. The floor for tokens stays exactly as long as the
-- server's clock could still show less, since keys expire by that same clock.
local function close_book()
  redis.call('DEL', HOLDERS, QUEUE, WAITERS, RECORDS)
  local ms = math.ceil(math.max(last - now, 0) / 1000) + 2
  redis.call('SET', GATE, 'F ' .. number(last), 'PX', ms)
end

-- Returns how many of them were there.
local function forget(leases, ids)
  local count = redis.call('ZREM', leases, unpack(ids))
  if leases == WAITERS then redis.call('ZREM', QUEUE, unpack(ids)) end
  redis.call('HDEL', RECORDS, unpack(ids))
  return count
end

-- Drops the dead; and cuts leases that reach further than any lease can (a clock was set back). Returns how
-- many of `count` live.
local function mend(leases, count)
  local furthest = now + span * 1000
  local living, sound = '(' .. number(now), number(furthest)
  if redis.call('ZCOUNT', leases, living, sound) == count then return count end
  local dead = redis.call('ZRANGEBYSCORE', leases, '-inf', number(now), 'LIMIT', 0, BATCH)
  if #dead > 0 then forget(leases, dead) end
  local odd = redis.call('ZRANGEBYSCORE', leases, '(' .. sound, '+inf', 'LIMIT', 0, BATCH)
  for _, id in ipairs(odd) do
    -- First a write that a full memory does not refuse.
    redis.call('ZREM', leases, id)
    redis.call('ZADD', leases, furthest, id)
    made[leases == HOLDERS and 2 or 4] = true
  end
  return redis.call('ZCOUNT', leases, living, '+inf')
end

local function repair()
  if holders > 0 then holders = mend(HOLDERS, holders) end
  if queued > 0 and mend(WAITERS, waiting) < waiting then queued = redis.call('ZCARD', QUEUE) end
end

local function hold(id, mode, deadline, channel)
  last = math.max(last + 1, now)
  made[2] = made[2] or holders == 0
  redis.call('ZADD', HOLDERS, deadline, id)
  redis.call('HSET', RECORDS, id, mode .. number(last) .. ' ' .. channel, 'last', number(last), 'held', mode)
  holders, held = holders + 1, mode
end

local function compatible(mode)
  return holders == 0 or (mode == 'r' and held == 'r')
end

-- Who stands right behind a writer, waits in its process and wants to write: they are let in together,
-- as one run, and that process lets them hold one after another, in this order. (Whether one of them has
-- died does not matter: their process knows.)
local function run_behind(channel)
  local run, like = {}, 'w0 ' .. channel
  while #run < RUN - 1 do
    -- Mostly it ends early.
    local some = redis.call('ZRANGE', QUEUE, #run + 1, math.min(2 * #run + 8, RUN - 1))
    if #some == 0 then break end
    local records = redis.call('HMGET', RECORDS, unpack(some))
    for i, id in ipairs(some) do
      if records[i] ~= like then return run end
      run[#run + 1] = id
    end
  end
  return run
end

-- Makes holders of the head of the line and the run behind it: each has a token of its own, and all have the
-- claim of the first. Returns what to tell their process.
local function hold_run(head, channel, deadline)
  local run = run_behind(channel)
  redis.call('ZREM', QUEUE, head, unpack(run))
  redis.call('ZREM', WAITERS, head, unpack(run))
  hold(head, 'w', deadline, channel)
  local message = head .. ' ' .. number(last)
  if #run > 0 then
    local leases, records = {}, {}
    for i, id in ipairs(run) do
      leases[2 * i - 1], leases[2 * i] = deadline, id
      records[2 * i - 1], records[2 * i] = id, 'w' .. number(last + i) .. ' ' .. channel
    end
    last = last + #run
    redis.call('ZADD', HOLDERS, unpack(leases))
    redis.call('HSET', RECORDS, 'last', number(last), unpack(records))
    holders = holders + #run
    queued = queued - #run
    message = message .. ' ' .. table.concat(run, ' ')
  end
  return message
end

-- Lets in whoever is at the head and fits: one writer and its run, or readers up to the next writer. Each
-- keeps, as a claim, what is left of its waiter lease: it may have died a moment ago. Returns their ids,
-- without those of a run.
local function grant()
  local granted = {}
  -- Whoever is at the head does not fit.
  if holders > 0 and held == 'w' then return granted end
  for _ = 1, math.min(queued, BATCH) do
    local head = redis.call('ZRANGE', QUEUE, 0, 0)[1]
    if not head then break end
    local deadline = tonumber(redis.call('ZSCORE', WAITERS, head) or 0)
    local mode, channel = string.match(redis.call('HGET', RECORDS, head) or '', '^([rw])%d+ (.*)$')
    if not mode or deadline <= now then
      forget(WAITERS, { head })
    elseif compatible(mode) then
      local message
      if mode == 'w' and channel ~= '' and queued > 1 then
        message = hold_run(head, channel, deadline)
      else
        redis.call('ZREM', QUEUE, head)
        redis.call('ZREM', WAITERS, head)
        hold(head, mode, deadline, channel)
        message = head .. ' ' .. number(last)
      end
      granted[#granted + 1] = head
      -- An ACL may refuse the channel; the waiter's heartbeat finds the grant then.
      if channel ~= '' then redis.pcall('PUBLISH', channel, message) end
    else
      break
    end
    queued = queued - 1
  end
  return granted
end

-- The end of a lease that is in force, or nil.
local function alive(leases, id)
  local deadline = tonumber(redis.call('ZSCORE', leases, id) or 0)
  return deadline > now and deadline or nil
end
