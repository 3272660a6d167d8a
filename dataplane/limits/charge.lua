-- Charges ARGV[1] to every window of one identifier, or to none of them.
-- KEYS: a counter for each window. ARGV after the first, for each: limit, start, end, when to
-- forget it; times in milliseconds.
-- Answers {1 granted | 0 refused, time, use of each window before}, or {-1, time} when this
-- server's clock is outside of a window: the caller then asks for the right ones.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, #KEYS do
  local at = (i - 1) * 4 + 1
  if now < tonumber(ARGV[at + 2]) or now >= tonumber(ARGV[at + 3]) then
    return {-1, now}
  end
end
local n = tonumber(ARGV[1])
local counts = redis.call('MGET', unpack(KEYS))
local answer = {1, now}
for i = 1, #KEYS do
  local used = tonumber(counts[i] or '0')
  if not used then
    return redis.error_reply('counter ' .. KEYS[i] .. ' is not a number')
  end
  answer[i + 2] = used
  if used + n > tonumber(ARGV[(i - 1) * 4 + 2]) then
    answer[1] = 0
  end
end
if answer[1] == 1 and n > 0 then
  for i = 1, #KEYS do
    redis.call('INCRBY', KEYS[i], ARGV[1])
    if not counts[i] then
      redis.call('PEXPIREAT', KEYS[i], ARGV[(i - 1) * 4 + 5])
    end
  end
end
return answer
