-- Writes the changes. Keeps the state for as long as a session may rely on it, and not much longer: when all sessions
-- are dead, nothing is to be left. Pasted at the end of each script, at the `--@settle` line.

if holders == 0 and queued == 0 then
  close()
else
  -- The records that have changed. A session without a place in the queue has no waiter lease.
  local fields = {}
  if last ~= saved_last then fields = { 'last', number(last) } end
  if held and saved[2] ~= held then
    fields[#fields + 1], fields[#fields + 2] = 'mode', held
  end
  if span ~= saved_span then
    fields[#fields + 1], fields[#fields + 2] = 'span', number(span)
  end
  for session, record in pairs(records) do
    if record.waits and record.ranges == '' then redis.call('ZREM', WAITERS, session) end
    if record.changed and not record.grant and record.ranges == '' then
      redis.call('HDEL', RECORDS, session)
    elseif record.changed then
      local granted = record.grant and ' ' .. show(record.grant) or ''
      fields[#fields + 1], fields[#fields + 2] = session, record.pushes .. granted .. record.ranges
    end
  end
  if #fields > 0 then redis.call('HSET', RECORDS, unpack(fields)) end
  latest = redis.call('ZREVRANGE', GRANTS, '0', '1', 'WITHSCORES')
  local left = redis.call('PTTL', KEYS[1])
  local ms = math.max(left, math.ceil(math.max(needed, (last - now) / 1000) + 2))
  local longest = math.max(now, last, tonumber(latest[2] or 0))
  if ms > math.ceil((longest - now) / 1000) + 2 + most_spare then
    longest = math.max(longest, tonumber(redis.call('ZREVRANGE', WAITERS, '0', '0', 'WITHSCORES')[2] or 0))
    local enough = math.ceil((longest - now) / 1000) + 2
    if ms > enough + most_spare then ms = enough end
  end
  for i = 1, 5 do
    if left ~= ms or made[i] then redis.call('PEXPIRE', KEYS[i], number(ms)) end
  end
end
return view()
